package decoders

// Shown is what a step sends the client of a result: told with that step, for
// the record. It is read from what is forwarded, as it is forwarded, so that it
// is what the client gets and nothing else. A protocol without rows has one
// value in each.
type Shown struct {
	Seq     uint64   // of the request it is a result of
	Result  int      // which of the request's results, from 0
	Columns [][]byte // their names, with the first rows of a result; nil if nobody named them
	From    int64    // which row of the result is the first here, from 0
	// Values are those of all rows, one row behind the other; Ends is where in
	// them each row ends.
	Values []Value
	Ends   []int
	// Lines: a row is one value, as the server has written all of it.
	Lines    bool
	Withheld int // values that are secrets, and are not here
	// Cut is why the rows end here though the result does not, Whole if they do
	// not.
	Cut Cut
}

// Empty reports whether there is nothing to tell.
func (s *Shown) Empty() bool { return len(s.Ends) == 0 && s.Cut == Whole }

// A Value is one of a row.
type Value struct {
	Kind ValueKind
	Text []byte
}

// A ValueKind is how a value is to be read.
type ValueKind uint8

const (
	Null  ValueKind = iota // there is none
	Plain                  // it is a text, or printed as one
	Raw                    // bytes of a form that is not known
)

// A Cut is why not all of a result is shown.
type Cut uint8

const (
	Whole   Cut = iota
	AtLimit     // what may be kept of a request's results is
	AtValue     // and of the last value here only the front is
	Unread      // what came behind was not understood
)

// String is how records write it.
func (c Cut) String() string { return [...]string{"", "limit", "value", "form"}[min(c, Unread)] }
