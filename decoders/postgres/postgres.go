// Package postgres decodes version 3 of PostgreSQL's frontend/backend
// protocol: what clients ask for in simple and extended queries, pipelines and
// COPY, and what came of it.
//
// It keeps a queue of the client's messages that the server has not answered
// yet, because a refusal, a mask and an outcome each belong to one of them.
// Where the two sides get out of step the session ends: a decoder that has
// lost its place can neither refuse nor mask.
//
// Functions of the database hide what they do from whoever reads statements;
// so do rules, triggers and foreign tables. docs/guarantees.md lists the limits.
package postgres

import (
	"errors"
	"fmt"
	"slices"

	"agentd.dev/decoders"
	"agentd.dev/decoders/sql"
)

// Protocol is PostgreSQL.
var Protocol = decoders.Protocol{
	Name:   "postgres",
	Fields: slices.Concat(sql.Fields, loginFields),
	Sniff:  sniff,
	LogsIn: true,

	Results: true,
	Missed: []string{
		"values of parameters", "data that is copied in", "replication streams and backups",
		"notices and notifications", "values of functions called by OID",
	},
	New:    func(want decoders.Want) decoders.Decoder { return newDecoder(want) },
	Secure: &secure,
}

// A phase is where a connection is in its life.
type phase uint8

const (
	starting     phase = iota // no type bytes yet
	cancelling                // a CancelRequest was sent: nothing may follow
	replacing                 // the StartupMessage was allowed, and goes out as agentd's own
	loggingIn                 // until the first ReadyForQuery
	learning                  // agentd asks the catalogue where protected columns are
	scopingNames              // agentd asks what the names of relations mean
	recalling                 // agentd asks which prepared statements SQL has made
	footed                    // agentd asks what is in force
	running
	over // the client said Terminate
)

// A decoder follows one connection. It implements decoders.Masker.
type decoder struct {
	want    decoders.Want
	maxText int
	phase   phase
	seq     uint64 // of the newest event that has one of its own

	replication bool // the client may send replication commands

	askedTLS, askedGSS bool // the client has asked for encryption, and was answered
	account            account
	footing            footing
	bounds             bounds

	analyzer *sql.Analyzer
	watch    []decoders.ColumnName // what analyzer looks for
	readings [2]struct {           // the newest analysed, to save doing it again
		facts   *sql.Facts
		reading reading
	}
	encoding encoding
	learned  lesson
	scoping  scoping
	recall   recall

	queue      queue
	lastSync   uint64 // the slot of the client's newest Sync
	ran        uint64 // of its newest Execute
	settings   settings
	segment    segment
	parking    parking // of the request that was asked about
	cancelKey  []byte  // that the server gave, or that a CancelRequest names
	lastReady  uint64  // of its newest message that makes the server ready for the next query
	challenged bool    // the server waits for a password message
	unbound    bool    // the client was kept from binding its login to the server's certificate

	asked   uint64   // the slot of the newest Ask, 0 if it got none
	parsing string   // the name in the newest Parse asked about
	running struct { // the newest Execute asked about
		portal string
		rows   uint32
	}
	limited  uint64 // the newest slot with a budget
	status   byte   // of the transaction, in the newest ReadyForQuery
	skipping bool   // the server discards whatever comes before the next Sync
	scratch  slot   // for messages that the server discards
	skipped  span   // what it discarded since the last ReadyForQuery
	copying  bool   // the server copies in: it ignores Flush, and gets no Sync
	fed      uint64 // the newest slot behind which there was data to copy, before it was known whether it is copied

	statements     names[statement]
	portals        names[portal]
	spareStatement *statement
	sparePortal    *portal
	kept           int    // bytes of the texts of prepared statements
	renamed        uint64 // the newest slot that may change what statement names mean
	recursor       uint64 // the same for portal names

	// epoch grows with every statement that may change what others mean:
	// a description from an earlier one must be renewed.
	epoch      uint64
	unsettled  bool // it will grow again when the transaction ends
	remade     bool // what has guards may have other names than the catalogue's: a statement that was sent since can change them
	tainted    bool // SQL can reach protected columns by the name of a cursor, portal or statement
	discreet   bool // the same of passwords and keys
	catalogue  catalogue
	major      int              // the server's version, 0 if it did not tell
	answering  *shape           // what Mask is for
	search     *decoders.Search // what all values are searched for, nil for nothing
	room0      scratch
	formats    formats  // of the result of the Query at the head
	undecided  formats  // of a statement: those come with its Bind
	copyingOut copying  // what the server copies out
	copyRoom   struct { // room for its rows and values
		row, read, write []byte
		shape            shape
	}
	show   show   // for the record
	result shape  // of the Query at the head
	hidden *shape // from a Describe of agentd's own, until its Bind is answered

	tags   map[string]string // texts that repeat, so that they need not be allocated again
	client struct {
		event       decoders.Event
		step        decoders.Step
		exact       exact
		was         settings // before the newest request
		out, record []byte
		spans       []decoders.Span
		censored    []byte
	}
	server struct {
		event    decoders.Event
		step     decoders.Step
		out      []byte
		columns  []decoders.Column
		by       []decoders.Count
		censored []byte
	}
}

func newDecoder(want decoders.Want) *decoder {
	d := &decoder{want: want, maxText: want.MaxText, watch: want.Columns, analyzer: sql.NewAnalyzer(want.Columns), scoping: newScoping(&want)}
	if d.maxText <= 0 {
		d.maxText = decoders.DefaultMaxText
	}
	d.queue.head, d.queue.tail = 1, 1
	d.askedTLS = want.Secured[decoders.FromClient]
	d.show.limit = max(want.Results, 0)
	d.footing.wanted, d.footing.stale = want.Bindings, want.Bindings
	return d
}

// masking reports whether results have to be looked at.
func (d *decoder) masking() bool { return len(d.want.Columns) > 0 }

// Next implements decoders.Decoder.
func (d *decoder) Next(dir decoders.Dir, buf []byte) (decoders.Step, error) {
	if len(buf) == 0 {
		return decoders.Step{Op: decoders.More, N: 1}, nil
	}
	if dir == decoders.FromServer {
		before := d.sent()
		step, err := d.backend(buf)
		if err != nil {
			d.unsent(before)
		}
		if d.show.due {
			step.Shown = d.show.look(&step, buf)
		}
		return step, err
	}
	switch d.phase {
	case starting:
		return d.start(buf)
	case replacing:
		return d.replace(), nil
	case loggingIn:
		return d.authenticate(buf)
	case learning, scopingNames, recalling, footed:
		return decoders.Step{Op: decoders.Wait}, nil
	case running:
		return d.frontend(buf)
	case cancelling:
		return decoders.Step{}, errors.New("the client went on after its CancelRequest")
	}
	return decoders.Step{}, fmt.Errorf("the client went on after Terminate, with %q", buf[0])
}

// ask returns the step that asks about the n bytes at the front.
func (d *decoder) ask(n int, ev decoders.Event) decoders.Step {
	d.seq++
	ev.Seq = d.seq
	d.client.event = ev
	return decoders.Step{Op: decoders.Ask, N: n, Event: &d.client.event}
}

// own returns b as a string that is kept, so that the few words a server says
// over and over are allocated once.
func (d *decoder) own(b []byte) string {
	if s, ok := d.tags[string(b)]; ok {
		return s
	}
	if d.tags == nil || len(d.tags) >= 64 {
		d.tags = make(map[string]string)
	}
	s := string(b)
	d.tags[s] = s
	return s
}
