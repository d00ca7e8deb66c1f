package policy

import (
	"fmt"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
)

// What a condition may cost is estimated for a statement of so many verbs, tables
// or columns, and texts and names of so many characters. It is far more than is usual; for
// one that has even more, maxCost ends the evaluation, and what restricts applies.
const (
	manyEntries = 32
	longText    = 512
	longName    = 64 // of a table, say
)

// affordable reports whether a condition is not too costly to be evaluated for
// each statement, and says so if it is.
func (c *compiler) affordable(l *language, checked *cel.Ast) bool {
	estimate, err := l.env.EstimateCost(checked, sizes{c.lexicon})
	switch {
	case err != nil:
		c.at.Problem("what the condition costs cannot be told: %v", err)
		return false
	case estimate.Max > maxCost:
		c.at.Problem("the condition is too costly: %s for a statement with %d verbs, tables or columns, where %d are allowed; put fewer loops into each other", steps(estimate.Max), manyEntries, maxCost)
		return false
	}
	return true
}

func steps(n uint64) string {
	if n > 1<<40 {
		return "far too many steps"
	}
	return fmt.Sprintf("%d steps", n)
}

// sizes are how long values may be, by their names.
type sizes struct{ *lexicon }

// EstimateSize implements cost.Estimator.
func (s sizes) EstimateSize(e cost.AstNode) *cost.SizeEstimate {
	path := e.Path()
	if len(path) == 1 && s.has(path[0]) {
		n := uint64(s.length(path[0]))
		return &cost.SizeEstimate{Min: n, Max: n}
	}
	if len(path) == 0 {
		return nil
	}
	switch e.Type().Kind() {
	case types.StringKind:
		if len(path) > 1 {
			return &cost.SizeEstimate{Max: longName}
		}
		return &cost.SizeEstimate{Max: longText}
	case types.ListKind, types.MapKind:
		return &cost.SizeEstimate{Max: manyEntries}
	}
	return nil
}

// EstimateCallCost implements cost.Estimator: calls cost what CEL says, but for
// those that ask whether something is in one of our lists. That is one look, since
// it does not change.
func (s sizes) EstimateCallCost(_, overload string, _ *cost.AstNode, args []cost.AstNode) *cost.CallEstimate {
	if overload != overloads.InList || len(args) != 2 {
		return nil
	}
	if path := args[1].Path(); len(path) != 1 || !s.has(path[0]) {
		return nil
	}
	return cost.NewCallEstimate(cost.Estimate{Min: 1, Max: 1}, nil)
}
