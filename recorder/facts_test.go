package recorder

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"agentd.dev/decoders"
)

// spoken is a protocol for these tests, and aFact what it can say.
var spoken = decoders.Protocol{Name: "postgres", Fields: []decoders.Field{
	{Name: "say.text", Type: decoders.String, Kinds: decoders.Prepare | decoders.Request},
	{Name: "say.verbs", Type: decoders.Strings, Kinds: decoders.Prepare | decoders.Request},
	{Name: "say.n", Type: decoders.Int, Kinds: decoders.Request},
	{Name: "say.loud", Type: decoders.Bool, Kinds: decoders.Prepare | decoders.Request},
	{Name: "login.user", Type: decoders.String, Kinds: decoders.Login},
	{Name: "login.as", Type: decoders.String, Kinds: decoders.Login},
}}

type aFact struct{ fields map[string]any }

func (f *aFact) Field(name string) any { return f.fields[name] }

// recordOf records events of one session and reads them back.
func recordOf(t testing.TB, events ...*decoders.Event) (*Transcript, []byte) {
	t.Helper()
	l := begin(t, func(o *Options) { o.Protocols = []decoders.Protocol{spoken} })
	var turn Turn
	log, err := l.Begin(&turn, aSession("S"))
	if err != nil {
		t.Fatal(err)
	}
	for _, ev := range events {
		log.Asked(&turn, at, ev, allowed)
	}
	l.commit(t, &turn)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	folder, err := OpenFolder(l.opts.Dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := folder.Session("S")
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, p := range payloads(t, l.opts.Dir) {
		all = append(append(all, p...), '\n')
	}
	return s, all
}

func asks(kind decoders.Kinds, seq, ref uint64, f decoders.Facts, exposures ...decoders.Exposure) *decoders.Event {
	return &decoders.Event{Kind: kind, Seq: seq, Ref: ref, Text: []byte("say"), Record: []byte("say"), Facts: f, Exposures: exposures}
}

func TestFactsAreReadBackAsTheRulesSawThem(t *testing.T) {
	f := &aFact{map[string]any{
		"say.text": "a \"b\" ü\n", "say.verbs": []string{"say", "\"x\".y"}, "say.n": int64(-1 << 60), "say.loud": false, "other": "unlisted",
	}}
	e := decoders.Exposure{Risk: decoders.Calls, What: "calling f", Function: "f", Columns: []decoders.Column{{Schema: "s", Table: "t", Name: "c"}}}
	s, _ := recordOf(t, asks(decoders.Request, 1, 0, f, e))
	got := s.Entries[0].Facts
	delete(f.fields, "other")
	if !reflect.DeepEqual(map[string]any(got.Fields), f.fields) || got.Cut != nil {
		t.Errorf("got %v, %v, want %v", got.Fields, got.Cut, f.fields)
	}
	if all := got.Exposed(); len(all) != 1 || !reflect.DeepEqual(all[0], e) {
		t.Errorf("got %+v, want %+v", all, e)
	}
}

func TestFactsAreRecordedOnceForASession(t *testing.T) {
	f, g := &aFact{map[string]any{"say.verbs": []string{"first"}}}, &aFact{map[string]any{"say.verbs": []string(nil)}}
	risky := decoders.Exposure{Risk: decoders.Decides, What: "WHERE"}
	s, all := recordOf(t,
		asks(decoders.Prepare, 1, 0, f), asks(decoders.Request, 2, 1, f), asks(decoders.Request, 3, 0, f),
		asks(decoders.Request, 4, 1, g), asks(decoders.Request, 5, 1, nil), asks(decoders.Request, 6, 0, nil),
		asks(decoders.Request, 7, 0, f, risky), asks(decoders.Request, 8, 0, f, risky), asks(decoders.Request, 9, 0, f))
	var got []string
	for _, e := range s.Entries {
		if e.Facts == nil {
			got = append(got, "none")
			continue
		}
		got = append(got, fmt.Sprint(e.Facts.Field("say.verbs"), len(e.Facts.Exposures)))
	}
	want := "[first] 0, [first] 0, [first] 0, [] 0, <nil> 0, none, [first] 1, [first] 1, [first] 0"
	if joined := strings.Join(got, ", "); joined != want {
		t.Errorf("got  %s\nwant %s", joined, want)
	}
	if n := bytes.Count(all, []byte(`["first"]`)); n != 3 {
		t.Errorf("the facts are written %d times, want 3: each time the exposures are others: %s", n, all)
	}
	if n := bytes.Count(all, []byte(`"like":`)); n != 2 {
		t.Errorf("%d records refer to others, want 2: a request has its prepare's without a word: %s", n, all)
	}
}

func TestALoginsFactsAreWithWhatItsRecordSays(t *testing.T) {
	f := &aFact{map[string]any{"login.user": "ada", "login.as": "reporter"}}
	s, all := recordOf(t, asks(decoders.Login, 1, 0, f))
	if got := s.Entries[0].Facts.Fields; !reflect.DeepEqual(map[string]any(got), f.fields) {
		t.Errorf("got %v, want %v", got, f.fields)
	}
	if n := bytes.Count(all, []byte(`"ada"`)); n != 1 {
		t.Errorf("the user is written %d times, want once: %s", n, all)
	}
}

func TestFactsThatFindNoRoomAreNamed(t *testing.T) {
	long := strings.Repeat("x", maxFacts)
	f := &aFact{map[string]any{"say.text": long, "say.verbs": []string{"say"}, "say.n": int64(7)}}
	many := make([]decoders.Column, 1000)
	s, all := recordOf(t,
		asks(decoders.Request, 1, 0, f), asks(decoders.Request, 2, 0, f, decoders.Exposure{Columns: many}),
		asks(decoders.Request, 3, 0, &aFact{map[string]any{"say.verbs": []string{"latin \xfc"}}}))
	one, two, three := s.Entries[0].Facts, s.Entries[1].Facts, s.Entries[2].Facts
	if !one.Lacks("say.text") || one.Lacks("say.verbs") || one.Lacks("say.loud") || one.Field("say.n") != int64(7) {
		t.Errorf("got %+v: only the long text is to be missing", one)
	}
	if !two.Lacks("exposures") || one.Lacks("exposures") {
		t.Errorf("got %+v, %+v: only the second has more exposures than there is room for", one.Cut, two.Cut)
	}
	if !three.Lacks("say.verbs") {
		t.Errorf("got %+v: what is not UTF-8 cannot be read back as it was", three)
	}
	if len(all) > 20<<10 {
		t.Errorf("%d bytes for three statements", len(all))
	}
}

func TestFactsThatWereLostAreNotTakenForNone(t *testing.T) {
	b := transcribing{Transcript: &Transcript{}, bySeq: map[uint64]*Entry{}}
	e := b.append(&record{Type: "request", Seq: 9, recorded: recorded{Like: 3}})
	if e.Facts == nil || !e.Facts.Lacks("say.verbs") {
		t.Errorf("got %+v, want facts that lack everything", e.Facts)
	}
}

func TestRecordingFactsSeenBeforeAllocatesNothing(t *testing.T) {
	var turn Turn
	log := newLog(&turn, aSession("S"), spoken.Fields)
	f := &aFact{map[string]any{"say.verbs": []string{"say"}}}
	ev := asks(decoders.Request, 1, 0, f)
	log.Asked(&turn, at, ev, allowed)
	log.pending.end(ev.Seq, at)
	if got := testing.AllocsPerRun(200, func() {
		turn.reset()
		ev.Seq++
		log.Asked(&turn, at, ev, allowed)
		log.pending.end(ev.Seq, at)
	}); got > 0 {
		t.Errorf("got %v allocations, want none", got)
	}
}

func TestManyFactsAreForgotten(t *testing.T) {
	var turn Turn
	log := newLog(&turn, aSession("S"), spoken.Fields)
	for seq := uint64(1); seq < 4*maxKnown; seq++ {
		log.Asked(&turn, at, asks(decoders.Request, seq, 0, &aFact{}), allowed)
	}
	if got := len(log.tell.known); got > maxKnown {
		t.Errorf("%d facts are kept, want at most %d", got, maxKnown)
	}
}

// FuzzFacts reads any record of facts without a panic, and what it read again
// from what it writes.
func FuzzFacts(f *testing.F) {
	f.Add(`{"facts":{"sql.verbs":["select"],"sql.ddl":false,"sql.statements":1},"cut":["sql.normalized"],"exposures":[{"risk":"calls","columns":[["s","t","c"]]}]}`)
	f.Add(`{"type":"login","user":"ada","facts":null,"cut":[]}`)
	f.Fuzz(func(t *testing.T, data string) {
		r, err := parseRecord([]byte("\x00" + strings.Repeat(" ", len(recordHead)) + data))
		if err != nil {
			return
		}
		if facts := r.facts(func(uint64) *Facts { return nil }); facts != nil {
			facts.Exposed()
			for name := range facts.Fields {
				facts.Field(name)
				facts.Lacks(name)
			}
		}
	})
}

func TestClaimsAreRecordedUnlessTheTextIsNot(t *testing.T) {
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	open, private := asks(decoders.Prepare, 1, 0, nil), asks(decoders.Request, 2, 0, nil)
	open.Record = open.Text
	open.Claims = []decoders.Claim{{Key: "task", Value: "T \"17\""}}
	private.Record = []byte("redacted")
	private.Claims = []decoders.Claim{{Key: "task", Value: "secret"}, {Key: decoders.Trace, Value: trace}}
	again := asks(decoders.Request, 3, 1, nil)
	again.Claims = open.Claims
	s, all := recordOf(t, open, private, again)
	var got []map[string]string
	for _, e := range s.Entries {
		got = append(got, e.Claims)
	}
	task := map[string]string{"task": "T \"17\""}
	if want := []map[string]string{task, {decoders.Trace: trace}, task}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if bytes.Contains(all, []byte("secret")) {
		t.Error("what a record leaves out of a text stands in its claims")
	}
}

func TestSessionsAreFoundByWhatTheyClaim(t *testing.T) {
	l := begin(t)
	for i, claim := range []string{"one", "two", "three"} {
		var turn Turn
		p := aSession(fmt.Sprint("S", i))
		if i == 0 {
			p.Identity.Claims = map[string]string{"task": claim}
		}
		log, err := l.Begin(&turn, p)
		if err != nil {
			t.Fatal(err)
		}
		kind := decoders.Login
		if i == 2 {
			kind = decoders.Request
		}
		ev := asks(kind, 1, 0, nil)
		ev.Record = ev.Text
		if i > 0 {
			ev.Claims = []decoders.Claim{{Key: "task", Value: claim}}
		}
		log.Asked(&turn, at, ev, allowed)
		l.commit(t, &turn)
	}
	folder, err := OpenFolder(l.opts.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for claim, want := range map[string]string{"task=one": "S0", "task=two": "S1", "task=three": "S2", "task=four": "", "task=": "", "trace=one": ""} {
		list, err := folder.Sessions(Filter{Claim: claim})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, s := range list {
			got += s.ID
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", claim, got, want)
		}
	}
}
