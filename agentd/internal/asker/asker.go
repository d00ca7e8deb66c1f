// Package asker lets tests say statements on many connections at once, from
// within a captured workload, while they watch what comes of each.
package asker

// An Order is for one of the connections, which it opens if need be.
type Order struct {
	Conn   int
	SQL    string
	Args   []any `json:",omitempty"`
	Simple bool  `json:",omitempty"` // by the simple protocol
	Cancel bool  `json:",omitempty"` // what it does now
	Close  bool  `json:",omitempty"` // without a word
}

// An Answer is what came of an order, or a notice that came meanwhile.
type Answer struct {
	Conn    int
	SQL     string     `json:",omitempty"`
	Notice  string     `json:",omitempty"`
	Rows    [][]string `json:",omitempty"`
	Tag     string     `json:",omitempty"`
	Code    string     `json:",omitempty"`
	Message string     `json:",omitempty"`
	Hint    string     `json:",omitempty"`
}
