package postgres

import "slices"

// keep adds to k what an earlier catalogue had and k has not: within a
// transaction, what it dropped or changed is there again once it is rolled back,
// perhaps by the text that goes on to read it. More is protected than need be
// until the transaction has ended, and the server is asked again.
func (k *known) keep(before *known) {
	for at, columns := range before.columns {
		k.columns[at] = with(k.columns[at], columns)
	}
	k.watch = with(k.watch, before.watch)
	for name := range before.names {
		k.names[name] = true
	}
	for name := range before.rows {
		k.rows[name] = true
	}
	for name, relations := range before.relations {
		for _, r := range relations {
			if !slices.ContainsFunc(k.relations[name], r.like) {
				k.relations[name] = append(k.relations[name], r)
			}
		}
	}
	for _, things := range [][2]map[string][]own{{k.functions, before.functions}, {k.operators, before.operators}, {k.types, before.types}} {
		for name, list := range things[1] {
			things[0][name] = with(things[0][name], list)
		}
	}
	for name, hooks := range before.hooks {
		k.hooks[name] = with(k.hooks[name], hooks)
	}
	for name, guards := range before.guards {
		k.guards[name] = with(k.guards[name], guards)
	}
	k.guarded = with(k.guarded, before.guarded)
	k.heralds = with(k.heralds, before.heralds)
}

// with is a list, and what it has not of another.
func with[T comparable](list, other []T) []T {
	for _, item := range other {
		if !slices.Contains(list, item) {
			list = append(list, item)
		}
	}
	return list
}

// like reports whether two relations have the same columns, and show the same.
func (r *relation) like(other *relation) bool {
	return r.schema == other.schema && slices.Equal(r.whole, other.whole) &&
		slices.EqualFunc(r.columns, other.columns, func(a, b attribute) bool {
			return a.name == b.name && a.number == b.number && a.oid == b.oid &&
				slices.Equal(a.protected, b.protected)
		})
}
