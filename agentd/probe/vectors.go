package probe

import "slices"

// Vectors are all the ways, in the order they are tried.
var Vectors = slices.Concat(streams, datagrams, rings, raws, packets, handed, listeners, spaces, rewrites, sockets, families)

// Find returns the vector with the given name.
func Find(name string) (*Vector, bool) {
	i := slices.IndexFunc(Vectors, func(v Vector) bool { return v.Name == name })
	if i < 0 {
		return nil, false
	}
	return &Vectors[i], true
}
