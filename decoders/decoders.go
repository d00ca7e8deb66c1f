// Package decoders says what a protocol decoder is: bytes go in, steps come
// out. A decoder knows where messages end, what they ask for, and how its
// protocol refuses; it knows no sockets, clocks, goroutines, logs or rules.
//
// The relay owns the bytes and does what each step says; the judge (package
// policy) answers what the steps ask. docs/adding-a-decoder.md walks through
// one.
package decoders

// A Dir is the direction in which bytes travel.
type Dir uint8

const (
	FromClient Dir = iota // from the captured workload to its target
	FromServer            // from the target to the captured workload
)

// Other returns the opposite direction.
func (d Dir) Other() Dir { return d ^ 1 }

func (d Dir) String() string {
	if d == FromServer {
		return "server"
	}
	return "client"
}

// An Op is what the relay does with the bytes of a Step.
type Op uint8

const (
	// More: nothing can be said before more bytes have come. N is how many
	// bytes Next wants to see in all, 0 if it cannot know. Never returned
	// for more bytes than the decoder's own cap.
	More Op = iota
	// Wait: Next has nothing to say in this direction until it was called
	// in the other one. The bytes stay where they are.
	Wait
	// Pass: N bytes go on as they are.
	Pass
	// Drop: N bytes are thrown away.
	Drop
	// Ask: Event must be judged before anything of the N bytes moves. The
	// relay answers by forwarding them (as for Pass), by Refuse, or, for
	// an event of kind Columns, by Mask and then as for Pass. The answer to an
	// Ask in direction FromClient may take days, in which the other direction
	// goes on and may end; the event is then judged again, and its Text and
	// Record may have moved.
	Ask
	// Study: Next has nothing to say in this direction before Step.Study was
	// called, which takes time and may block, and so is called on a goroutine
	// of its own; then Next is called again, with the same bytes and perhaps
	// more. N is 0. Meanwhile the other direction goes on.
	Study
)

// A Step says what to do with the front of a buffer.
//
// Everything a Step points to belongs to the decoder and is valid until the
// next call of any method in the same direction; Out and Back are copied or
// written by the relay before that.
type Step struct {
	Op Op
	// N is a number of bytes from the front of the buffer. For Pass, Drop
	// and Ask it may exceed the buffer: the rest meets the same fate when
	// it comes, without another call of Next.
	N int
	// Event is what is asked (Ask) or merely told, for the record (Pass,
	// Drop). Nil if there is nothing to tell.
	Event *Event
	// Out is sent on in the direction of travel before the N bytes, or in
	// their place for Drop. With Ask it is sent only if they are forwarded.
	Out []byte
	// Study is set with Study alone. It touches nothing of the decoder that
	// the other direction may touch, is called once, and returns within
	// seconds.
	Study func()
	// Back is sent the other way, to where the N bytes came from. Only with
	// Pass and Drop.
	Back []byte
	// Shown is what the client is sent of a result by this step, nil if nothing,
	// or nobody wants to know. Only with Pass and Drop in direction FromServer;
	// before the Event.
	Shown *Shown
}

// A Decoder follows one connection in both directions. The two directions
// share it but never call it concurrently; an event of one direction survives
// calls of Next in the other.
type Decoder interface {
	// Next looks at the front of buf, which holds everything that has come
	// in this direction and was not consumed by a step. It is called again
	// after each step that consumed bytes while bytes remain, and when more
	// bytes have come after More or Wait. An error means the bytes are not
	// this protocol, or that going on could let something through unseen:
	// the relay ends the session with Abort and forwards nothing further.
	Next(dir Dir, buf []byte) (Step, error)

	// Refuse answers the last Ask in direction FromClient with no. The N
	// bytes of the Step are dropped.
	Refuse(r Refusal) Answer

	// Abort returns what tells the client, in the protocol's own words,
	// that its session ends here. The relay sends it only between two
	// messages, never inside one. Nil if the protocol has no such message.
	Abort(r Refusal) []byte
}

// A Parter is a Decoder that can tell why a client may have hung up before it
// said what it wants, "" if it does not know.
type Parter interface {
	Decoder
	Parting() string
}

// An Ender is a Decoder that can tell what an answer came to that was not over
// when its session ended.
type Ender interface {
	Decoder
	// Ended returns, once there is no next Next, the Outcome so far of the request
	// whose answer had begun; nil if there is none.
	Ended() *Event
}

// A Masker is a Decoder that can replace values in what a server returns.
type Masker interface {
	Decoder
	// Mask answers the last Ask of kind Columns: from here on the named
	// columns of that result are replaced. As the answer to an Ask of kind
	// Login it says what the whole session is searched for. The slice is
	// copied.
	Mask(masks []Mask)
}

// A Refusal is what a refused client is told.
type Refusal struct {
	Rule   string // the rule that refused, or the default that did
	Reason string // what was refused and why, one sentence
	Hint   string // what would be allowed, or how to ask
	// Cancelled: the client itself took the request back, on a connection of its
	// own, and is told what a server would say.
	Cancelled bool
}

// Message is r in one line, for whoever was refused: what, why, and by which
// rule.
func (r Refusal) Message() string {
	reason := r.Reason
	if reason == "" {
		reason = "This is refused."
	}
	return reason + " (agentd, rule " + r.Rule + ")"
}

// Error makes a Refusal an error that Next may return where it knows better
// than the relay what the client should be told.
func (r Refusal) Error() string { return r.Message() }

// An Answer is how a protocol says no.
type Answer struct {
	// Out goes to the server in place of what was refused: something sure
	// to fail there, so that the server's own state follows the refusal.
	// Nil if the server need not know.
	Out []byte
	// Back goes to the client at once. Nil if the server's reply to Out
	// will be rewritten by the decoder instead.
	Back []byte
	// Close: the session cannot go on; close once Back is out.
	Close bool
}

// Kinds is a set of event kinds.
type Kinds uint16

const (
	Login   Kinds = 1 << iota // a client says who it is: asked
	Prepare                   // a statement is prepared for later: asked
	Request                   // something is to be done: asked
	Columns                   // a result that has protected columns begins: asked, to be masked or not
	Outcome                   // what a request came to: told
	Cancel                    // a running request is to be cancelled, on a connection of its own: asked
	Own                       // agentd itself asks the server something: told
)

// Names are the kinds' names, in the order of their bits, as policies and
// records write them.
var Names = [...]string{"login", "prepare", "request", "result", "outcome", "cancel", "own"}

// String returns the name of the lowest kind in k.
func (k Kinds) String() string {
	for i, name := range Names {
		if k&(1<<i) != 0 {
			return name
		}
	}
	return "none"
}

// An Event is something that a policy may judge and that the record keeps.
type Event struct {
	Kind Kinds // exactly one
	// Seq numbers the events of kind Login, Prepare, Request, Cancel and
	// Own of a session from 1. An Outcome or Columns has the Seq of the
	// request it belongs to.
	Seq uint64
	// Ref is, for a Request that runs what an earlier Prepare brought, that
	// Prepare's Seq, and Text is then the prepared text; otherwise 0.
	Ref uint64
	// Text is the statement as it was sent, for judging. Never recorded.
	Text []byte
	// Record is what of Text may be written to a record: secrets are out,
	// and so are literals when the statement touches a protected column.
	// It is Text itself when there is nothing to hide.
	Record []byte
	// Unclassified says why the statement was not understood, "" if it was.
	Unclassified string
	// Exceptional says, of a Login, why it is refused unless a rule allows
	// it, "" for the ordinary.
	Exceptional string
	// Facts are what policies can ask about the event. Events with the same
	// Facts value (compared as interface values) have equal facts, so that
	// a verdict may be remembered by it. Nil if there are none.
	Facts Facts

	// Claims are what the client says of why it asks, apart from Facts, since
	// they differ where those are the same. A Request with Ref has those of
	// its Prepare.
	Claims []Claim

	// Binding is, for a Request, what exactly would be done, so that somebody
	// can agree to that and nothing else. Nil where that cannot be told: then
	// nobody can. Valid as long as the event.
	Binding Binding

	Columns []Column // for kind Columns: the protected columns alone
	Result  Result   // for kind Outcome
	// Exposures are, for Prepare and Request, the ways in which it could show
	// values of protected columns that masks of its results do not close.
	Exposures []Exposure
	// Loosens is, for Prepare and Request, what it would do to the limits of
	// its session. Empty unless Want.Bounds.
	Loosens Loosens
}

// An Exposure is a way in which a request could show protected values though its
// results are masked.
type Exposure struct {
	Risk Risk
	// What is it that the request does, as "WHERE, JOIN or ORDER BY": the end of
	// a sentence that begins with the statement.
	What    string
	Columns []Column // those whose values it could show
	// Function is, for Calls, what is called: as it is written, with a schema or
	// without.
	Function string
}

// A Risk is a kind of exposure.
type Risk uint8

const (
	// Carries: values could be stored or sent to where they are not masked.
	Carries Risk = iota
	// Decides: values decide which rows there are, in what order, or what others
	// come to, and so can be found out by asking often enough.
	Decides
	// Calls: a function of which nothing is known is called. It may read or keep
	// anything.
	Calls
	// Guesses: it writes what the client says where it fails if that is among
	// values, or is not, and so tells whether a guess is right.
	Guesses
)

// A Binding says what exactly a request would do.
type Binding interface {
	// Digest is the same for requests that do the same: of the same words,
	// whatever stands between them, with the same values, and under the same
	// settings of the session that decide what words mean. It is keyed by
	// nothing, and is not shown: values could be guessed by it.
	Digest() [32]byte
	// Parameters are the values that are sent beside the text, for people to
	// read; what may carry protected values is "?".
	Parameters() []string
	// Open: something that the client began before is still open at the server,
	// as a transaction or the rest of a pipeline, and would wait, too.
	Open() bool
}

// A Waiter is a Decoder whose protocol can tell a client that it has to wait.
type Waiter interface {
	Decoder
	// Waiting returns what tells the client so, for the last Ask of kind
	// Request. The relay sends it between two messages only. The bytes are the
	// caller's; what the Step points to stays as it is.
	Waiting(r Refusal) []byte
	// Moot reports whether that Ask can have no effect any more whatever the
	// answer, as when a pipeline has failed before it. What is forwarded all the
	// same, the server discards.
	Moot() bool
}

// A Parker is a Decoder that can have a server let go of what it holds for a
// request that waits, as locks.
type Parker interface {
	Decoder
	// Park returns what goes to the server for that now, nil if nothing. It is
	// called when the last Ask begins to wait, and whenever something has come of
	// the server since.
	Park() []byte
	// Unpark returns what goes to the server before the N bytes of that Ask, or
	// what goes in their place: it takes up what was let go of.
	Unpark() []byte
}

// A Canceller is a Decoder whose protocol cancels a request by a key, on a
// connection of its own.
type Canceller interface {
	Decoder
	// CancelKey is what requests of this connection are cancelled by; of a
	// connection that cancels (kind Cancel), what it names. Empty if there is
	// none. It is a secret, the caller's to keep, and in no record.
	CancelKey() []byte
}

// Facts gives the value of a protocol's field by its name: a string, []string,
// int64 or bool as the Field says, nil for a name it does not have. It is
// immutable and may be used after the event is gone. All of it is recorded: what
// an Event's Record leaves out is in no field either.
type Facts interface {
	Field(name string) any
}

// A Result is what a request came to.
type Result struct {
	Rows  int64 // rows returned or copied, in either direction
	Bytes int64 // bytes of those rows on the wire
	// Columns are those of the last result that had any.
	Columns int
	// Affected are the rows inserted, updated, deleted or copied in, as the
	// server counts them.
	Affected int64
	Tag      string   // the server's own word of completion, as "SELECT 3"
	Code     string   // the protocol's error code, "" if the request succeeded
	Message  string   // the error's text; "" where it could carry protected values
	Masked   int64    // values, and parts of values, that were replaced
	By       []Count  // which those were; what has no name is not in it
	Over     []string // limits that only watch, and that it went beyond; whoever judges adds them
	// Unfinished: the session ended first, and this is what had come until then.
	Unfinished bool
	Skipped    bool // never run: an earlier error, or the end of the session, came first
	// Through is, if one error made the server skip several requests, the
	// Seq of the last of them: all from the event's Seq to it that were
	// neither refused nor told of before. Otherwise 0.
	Through uint64
}

// A Column is one column of a result that carries, or may carry, protected
// values.
type Column struct {
	Index  int // position in the result, from 0
	Schema string
	Table  string
	Name   string // the column's own name, whatever the alias
	// Derived: the value is computed by a statement that mentions the
	// column, and could show it.
	Derived bool
}

// EveryColumn is the Index of a Mask that is for all columns of all results.
const EveryColumn = -1

// A Mask replaces the values of one column of a result, or what is found in
// them. What the column's type cannot hold becomes NULL.
type Mask struct {
	Index int
	Name  string // under which values are counted
	As    string // what records say that values become, "" for NULL
	// Way is how a value is replaced that is not NULL; nil: it becomes NULL.
	Way Way
	// Search is set if only what it finds is replaced. Way then is unused.
	Search *Search
}

// A Way makes what stands for a value. It is immutable, and may be used by any
// number of goroutines.
type Way interface {
	// Append appends to dst what replaces value, which is in the text form of
	// its type. The same value always gives the same. False: nothing can
	// replace it, and it becomes NULL.
	Append(dst, value []byte) ([]byte, bool)
}

// A Digest is a Way that has, for a value, 16 bytes that stand for it and tell
// nothing of it: types that cannot hold any text can be made of them.
type Digest interface {
	Way
	Sum(value []byte) [16]byte
}

// A Search is what to look for in values. It is immutable, and may be used by
// any number of goroutines.
type Search struct {
	Finder Finder
	Kinds  []Kind // by Span.Kind
	// Anything: it may find something in any value, dates and small numbers
	// included, as expressions of users do.
	Anything bool
}

// A Kind is one kind of what a Search finds.
type Kind struct {
	Name string // under which it is counted
	Way  Way    // what becomes of it; nil: the value that it is in becomes NULL
}

// A Finder finds parts of texts.
type Finder interface {
	// Find appends where they are to dst: in order, none of them empty, and
	// none overlapping another.
	Find(dst []Span, text []byte) []Span
}

// A Span is a part of a text, of one kind.
type Span struct{ From, To, Kind int }

// A Count is how often something was replaced.
type Count struct {
	Name string
	N    int64
}

// A ColumnName names protected columns; "*" stands for any name.
type ColumnName struct{ Schema, Table, Column string }

// A Want is what a session's rules can use, so that nothing is decoded that
// nobody reads.
type Want struct {
	Kinds   Kinds        // beyond Login, Prepare, Request and Outcome, which are always reported
	Columns []ColumnName // columns that results must be watched for
	// Fields are the names of learned fields that conditions speak of, sorted.
	Fields []string
	// Searches name what all values may have to be searched for: which of it
	// is said as the answer to the login.
	Searches []string
	MaxText  int // bytes of the longest statement to be judged; a longer one is unclassified. 0: DefaultMaxText
	// Results is how many bytes of the results of one request are shown (see
	// Step.Shown), 0 for none.
	Results int
	// Limits: requests may be limited. Bounds: sessions may be.
	Limits, Bounds bool
	// Bindings: people may be asked about requests, so that what it takes to say
	// what one would do is kept. Without it, events may have no Binding.
	Bindings bool
	// Grammar is asked what statements mean. Nil: their words are all that is
	// known.
	Grammar Grammar
	// Account is what agentd logs in with in the client's place, nil if the
	// client's own login is passed on.
	Account *Account
	// Secured are the legs on which TLS ends in agentd, by the direction of
	// what is read from them. The decoder sees the plaintext.
	Secured [2]bool
}

// A Grammar knows what texts of one language mean. Texts of one key mean the
// same. It may be used by any number of goroutines, and what it returns is
// immutable; its type is a matter between decoder and grammar.
type Grammar interface {
	// Known returns the meaning of a key if it is remembered. It does not
	// block, and does not allocate.
	Known(key []byte) (meaning any, ok bool)
	// Study finds out what a text means, which may take a second. It always
	// comes to something, if only to a meaning that says why nothing is known.
	Study(key []byte, text string) (meaning any)
}

// An Account is what agentd logs in to a server with. The Password, and what is
// made from it, is in no event, error or record.
type Account struct {
	Credential string // what operators call it
	User       string
	Password   string // "": it has none, as where a certificate says who it is
	// Prepared is the password as SCRAM wants it (RFC 4013), "" if that is
	// Password itself.
	Prepared   string
	Parameters map[string]string // of the session, set over those of the client
	// Label is put before what the client calls itself, so that the server's
	// own log names the session. "": the client's own name is kept.
	Label string
	// Binding is the hash of the server's certificate (RFC 5929,
	// tls-server-end-point), nil without TLS.
	Binding []byte
	// Methods are the ways to log in beyond SCRAM, which shows a server
	// nothing that is of use to it, unless the password can be guessed.
	Methods Methods
	// Keys remembers what is costly to make from the password. Nil: nothing
	// is remembered.
	Keys Keys
	// Rejected is called when the server does not take the password: it may
	// have been replaced. It does not block. Nil: nobody cares.
	Rejected func()
}

// Methods are ways to log in that a server may be answered.
type Methods uint8

const (
	HashedPassword Methods = 1 << iota // a weak hash of the password (MD5)
	PlainPassword                      // the password itself
)

// Keys remembers the keys made from one password. It may be used by any number
// of goroutines and does not block.
type Keys interface {
	Known(salt []byte, iterations int) (key []byte, ok bool)
	Keep(salt []byte, iterations int, key []byte)
}

// DefaultMaxText is how long a statement may be when nothing else is said, in
// bytes.
const DefaultMaxText = 16 << 20

// A Type is the type of a field, as conditions see it.
type Type uint8

const (
	String  Type = iota // string
	Strings             // list of strings
	Int                 // 64-bit integer
	Bool                // boolean
)

// A Field is something policies may ask about a protocol's events.
type Field struct {
	Name  string // with its prefix, as "sql.verbs"
	Type  Type
	Kinds Kinds  // the kinds of events that have it
	Doc   string // one line, for people who write policies
	// Learned: it takes more than the client's words to know it, so that events
	// have it only if Want.Fields does.
	Learned bool
	// Noted: it is for the record alone, to be found by. It is what the client
	// wrote, which may mean something else, so that conditions cannot ask for it.
	Noted bool
	// Exceptional: of logins, one that is true makes the event exceptional.
	Exceptional bool
}

// A Match says how well the first bytes of a connection fit a protocol.
type Match uint8

const (
	No    Match = iota // not this protocol
	Maybe              // more bytes are needed to tell
	Yes                // this protocol
)

// A Protocol is what the rest of agentd knows of a protocol: a value in the
// table of package all.
type Protocol struct {
	Name   string
	Fields []Field
	// Sniff looks at the first bytes of a connection in one direction.
	Sniff func(dir Dir, head []byte) Match
	// LogsIn: its decoders can log in with an Account.
	LogsIn bool
	// Results: they can show what of results clients are sent.
	Results bool
	// Missed is what no record of its sessions has, in words.
	Missed []string
	// New returns a decoder for one connection.
	New func(want Want) Decoder
	// Secure is how connections come to TLS, which ends before the decoder
	// sees anything. Nil if they never do.
	Secure *Secure
}
