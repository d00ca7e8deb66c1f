package decoders

// Limits bound what one request may bring or change, or, as the answer to a
// login, what each of a session may. A zero Limit is none.
type Limits struct {
	Rows     Limit // of its results
	Bytes    Limit // of those rows on the wire
	Affected Limit // rows that it inserts, updates, deletes or copies in

	// Of a session, kept by the server itself.
	Time   Limit // milliseconds that a request may take
	Writes Limit // set: it writes nothing, whatever Max is
}

// A Limit is one bound.
type Limit struct {
	Max int64 // how much is allowed, if Rule is set
	Refusal
}

// Set reports whether there is such a bound.
func (l *Limit) Set() bool { return l.Rule != "" }

// Rule is the rule of the first bound there is.
func (l *Limits) Rule() string {
	for _, bound := range []*Limit{&l.Affected, &l.Rows, &l.Bytes, &l.Writes, &l.Time} {
		if bound.Set() {
			return bound.Rule
		}
	}
	return ""
}

// A Limiter is a Decoder that can bound requests.
type Limiter interface {
	Decoder
	// Limit answers the last Ask of kind Request or Login with yes, within
	// limits. What it returns goes to the server in place of the N bytes; if
	// that is nil, the N bytes go as they are. An error says why the limits
	// cannot be kept: nothing was changed then, and it is to be refused.
	//
	// A request that goes beyond a limit fails as any other: its Outcome has a
	// Code, and the limit's refusal as Message.
	Limit(limits Limits) (out []byte, err error)
}

// Loosens says what a request would do to the limits of its session: the end of
// a sentence that begins with "This", "" if nothing.
type Loosens struct{ Time, Writes string }
