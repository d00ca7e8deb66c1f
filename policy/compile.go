package policy

import (
	"runtime"
	"sync"

	"agentd.dev/decoders"
)

// A wording is a condition as it is written, and what it is to judge: rules that
// have both in common share the condition.
type wording struct {
	text  string
	kinds decoders.Kinds
}

// compileAll compiles the conditions of rules, each that is worded differently
// once, on all cores. One that is wrong is reported at each of its places.
func (x *lexicon) compileAll(rules []*rule, languages []*language) {
	work := make(chan []*rule)
	var wait sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for alike := range work {
				for i, r := range alike {
					if i > 0 && alike[0].when != nil {
						r.when = alike[0].when
						continue
					}
					r.when = x.compile(*r.written, r.wording().kinds, languages)
				}
			}
		})
	}
	groups := map[wording][]*rule{}
	var order []wording
	for _, r := range rules {
		if r.written == nil {
			continue
		}
		r.source, _ = r.written.Word()
		w := r.wording()
		if groups[w] == nil {
			order = append(order, w)
		}
		groups[w] = append(groups[w], r)
	}
	for _, w := range order {
		work <- groups[w]
	}
	close(work)
	wait.Wait()
	for _, r := range rules {
		r.suits()
	}
}

// wording is how the rule's condition is written.
func (r *rule) wording() wording {
	kinds := r.on
	if kinds == 0 { // wrong already: judge the condition for itself
		kinds = decoders.Login | decoders.Prepare | decoders.Request | decoders.Columns
	}
	return wording{r.source, kinds}
}
