package postgres_test

import (
	"sync"

	"agentd.dev/agentd/grammar/walk"
)

// A grammar is PostgreSQL's own, in this process, and remembers all it was asked.
type grammar struct {
	mu    sync.Mutex
	known map[string]any
}

func newGrammar() *grammar { return &grammar{known: map[string]any{}} }

func (g *grammar) Known(key []byte) (any, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m, ok := g.known[string(key)]
	return m, ok
}

func (g *grammar) Study(key []byte, text string) any {
	m := walk.Read(text)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.known[string(key)] = &m
	return &m
}
