package recorder

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"agentd.dev/decoders"
	"agentd.dev/policy"
)

// A Log writes the records of one session. It belongs to the goroutine that
// owns the Turn it writes to.
type Log struct {
	inherent []byte // the fields that every record of the session carries
	start    time.Time
	n        int64 // records so far
	pending  stopwatch
	own      uint64 // seq of the last that agentd itself asked
	held     uint64 // seq of the last that had to wait for people
	counts   counts
	tell     teller
}

// counts are what the session's last record sums up.
type counts struct {
	statements, denied, failed, rows, bytes, masked int64
}

// An End is how a session ended.
type End struct {
	FromClient, FromServer int64 // bytes that came from each side
	Unsent                 int64 // bytes for the client that it did not take
	Reason                 string
}

func newLog(t *Turn, s *policy.Session, fields []decoders.Field) *Log {
	l := &Log{start: s.Start, tell: teller{fields: fields}}
	var scratch Turn
	scratch.str("session", s.ID)
	l.inherent = scratch.buf

	l.open(t, "open", s.Start)
	id, p := &s.Identity, &s.Identity.Process
	t.str("workload", id.Workload)
	t.str("source", id.Source)
	t.str("cgroup", id.Cgroup)
	t.int("cgroup_id", int64(id.CgroupID))
	t.str("unit", id.Unit)
	pod(t, id)
	t.int("pid", int64(p.PID))
	t.time("pid_start", p.Start)
	t.key("uid", "")
	t.buf = strconv.AppendUint(t.buf, uint64(p.UID), 10)
	t.str("comm", p.Comm)
	t.str("exe", p.Exe)
	t.str("target", s.Target.Name)
	if s.Target.Address.IsValid() {
		t.str("address", s.Target.Address.String())
	}
	t.str("host", s.Target.Host)
	t.str("protocol", s.Target.Protocol)
	t.str("scope", string(s.Scope))
	t.int("results", int64(s.Results))
	t.strs("not_captured", s.NotCaptured)
	target(t, &s.Target)
	t.labels("claims", id.Claims)
	t.close()
	return l
}

// target appends what rules can go by, and what holds where they are silent.
func target(t *Turn, to *policy.Target) {
	t.labels("target_labels", to.Labels)
	t.str("default", to.Default.String())
	t.str("not_understood", to.Unclassified.String())
}

// Secured says how TLS is on the session's legs, nil where there is none. It
// comes before whatever the client asks.
func (l *Log) Secured(t *Turn, now time.Time, client, server *policy.TLS) {
	l.open(t, "tls", now)
	for _, leg := range []struct {
		key string
		tls *policy.TLS
	}{{"client_tls", client}, {"server_tls", server}} {
		if leg.tls != nil {
			t.object(leg.key, func(attr func(key, value string)) { secured(attr, leg.tls) })
		}
	}
	t.close()
}

func secured(attr func(key, value string), s *policy.TLS) {
	until := ""
	if !s.Until.IsZero() {
		until = s.Until.UTC().Format(time.RFC3339)
	}
	for _, f := range [...]struct{ key, value string }{
		{"version", s.Version},
		{"cipher", s.Cipher},
		{"name", s.Name},
		{"verified", s.Verified},
		{"subject", s.Subject},
		{"issuer", s.Issuer},
		{"sha256", s.Fingerprint},
		{"until", until},
	} {
		if f.value != "" {
			attr(f.key, f.value)
		}
	}
}

// pod appends which container of which pod it was. Of the pod's labels, the
// record has them all: rules may have gone by any.
func pod(t *Turn, id *policy.Identity) {
	t.str("container", id.Container)
	t.str("container_id", id.ContainerID)
	t.str("image", id.Image)
	t.str("namespace", id.Namespace)
	t.str("pod", id.Pod)
	t.str("pod_uid", id.PodUID)
	t.str("service_account", id.ServiceAccount)
	t.str("owner", id.Owner)
	t.labels("labels", id.Labels)
}

// labels appends all of them, unless there are none.
func (t *Turn) labels(key string, all map[string]string) {
	if len(all) > 0 {
		t.object(key, func(attr func(key, value string)) {
			for _, key := range slices.Sorted(maps.Keys(all)) {
				attr(key, all[key])
			}
		})
	}
}

// open starts a record of this session.
func (l *Log) open(t *Turn, kind string, now time.Time) {
	t.open(kind, now)
	t.buf = append(t.buf, l.inherent...)
	l.n++
	t.int("n", l.n)
}

// Asked records what was asked and what the answer was. Commit t before the
// answer has effect.
func (l *Log) Asked(t *Turn, now time.Time, ev *decoders.Event, v policy.Verdict) {
	l.event(t, now, ev)
	t.buf = append(t.buf, l.tell.wants...)
	l.tell.wants = nil
	l.tell.facts(t, ev)
	claims(t, ev)
	loosens(t, &ev.Loosens)
	switch ev.Kind {
	case decoders.Login:
		login(t, ev.Facts)
	case decoders.Columns:
		columns(t, ev.Columns, v)
	case decoders.Request:
		if ev.Seq == l.held {
			t.flag("again", true)
		} else {
			l.counts.statements++
		}
	}
	t.str("unclassified", ev.Unclassified)
	t.str("exceptional", ev.Exceptional)
	t.str("verdict", v.Outcome.String())
	t.str("rule", v.Rule)
	t.str("reason", v.Reason)
	t.str("hint", v.Hint)
	if v.Limits != nil {
		t.str("limited", v.Limits.Rule())
	}
	t.str("approval", v.Approval)
	shadows(t, v.Shadows)
	t.strs("alerts", v.Alerts)
	t.close()
	if v.Outcome == policy.Hold {
		l.held = ev.Seq
	}

	if v.Outcome == policy.Refuse || v.Outcome == policy.Close {
		l.counts.denied++
	}
	if ev.Kind != decoders.Columns { // a result has its request's Seq
		l.pending.begin(ev.Seq, now)
	}
}

// Told records what a request came to, or what agentd itself asked.
func (l *Log) Told(t *Turn, now time.Time, ev *decoders.Event) {
	l.event(t, now, ev)
	switch ev.Kind {
	case decoders.Outcome:
		l.outcome(t, now, ev)
	case decoders.Own:
		l.own = ev.Seq
		l.pending.begin(ev.Seq, now)
	}
	t.close()
}

// event starts the record of ev with what all kinds have.
func (l *Log) event(t *Turn, now time.Time, ev *decoders.Event) {
	l.open(t, ev.Kind.String(), now)
	t.int("seq", int64(ev.Seq))
	t.int("ref", int64(ev.Ref))
	if ev.Ref == 0 { // otherwise the record of Ref has the text
		t.text("text", ev.Record, maxText)
	}
}

func (l *Log) outcome(t *Turn, now time.Time, ev *decoders.Event) {
	r := &ev.Result
	if took, ok := l.pending.end(ev.Seq, now); ok {
		t.key("ns", "")
		t.buf = strconv.AppendInt(t.buf, took.Nanoseconds(), 10)
	}
	t.int("rows", r.Rows)
	t.int("bytes", r.Bytes)
	t.int("width", int64(r.Columns))
	t.int("affected", r.Affected)
	t.str("tag", r.Tag)
	t.str("code", r.Code)
	t.str("message", r.Message)
	t.int("masked", r.Masked)
	maskedBy(t, r.By)
	t.strs("over", r.Over)
	t.flag("unfinished", r.Unfinished)
	t.flag("skipped", r.Skipped)
	t.int("through", int64(r.Through))

	if ev.Seq == l.own { // the counts are of what the client did
		t.flag("own", true)
		return
	}
	l.counts.rows += r.Rows
	l.counts.bytes += r.Bytes
	l.counts.masked += r.Masked
	if r.Code != "" {
		l.counts.failed++
	}
}

// loginFields are the facts of a login that are kept, in any protocol.
var loginFields = []struct{ fact, key string }{
	{"login.user", "user"},
	{"login.database", "database"},
	{"login.application", "application"},
}

// login appends who the client says it is.
func login(t *Turn, facts decoders.Facts) {
	if facts == nil {
		return
	}
	for _, f := range loginFields {
		if value, ok := facts.Field(f.fact).(string); ok {
			t.str(f.key, value)
		}
	}
	if credential, _ := facts.Field("login.credential").(string); credential != "" { // agentd logs in itself
		as, _ := facts.Field("login.as").(string)
		t.str("credential", credential)
		t.str("as", as)
	}
}

// columns appends the protected columns of a result and what each is
// replaced by.
func columns(t *Turn, cols []decoders.Column, v policy.Verdict) {
	t.key("columns", "")
	t.buf = append(t.buf, '[')
	for i := range cols {
		c := &cols[i]
		if i > 0 {
			t.buf = append(t.buf, ',')
		}
		t.buf = append(t.buf, `{"index":`...)
		t.buf = strconv.AppendInt(t.buf, int64(c.Index), 10)
		t.str("schema", c.Schema)
		t.str("table", c.Table)
		t.str("column", c.Name)
		t.flag("derived", c.Derived)
		if v.Outcome == policy.Rewrite {
			mask(t, c.Index, v.Masks)
		}
		t.buf = append(t.buf, '}')
	}
	t.buf = append(t.buf, ']')
}

// mask appends what column index is replaced by: "NULL" where there is no text.
func mask(t *Turn, index int, masks []decoders.Mask) {
	for _, m := range masks {
		if m.Index != index {
			continue
		}
		if m.Search != nil {
			t.flag("searched", true)
			return
		}
		t.flag("masked", true)
		t.str("as", m.As)
		return
	}
}

// shadows appends what rules that only watch would have decided.
func shadows(t *Turn, all []policy.Shadow) {
	if len(all) == 0 {
		return
	}
	t.key("shadows", "")
	t.buf = append(t.buf, '[')
	for i := range all {
		if i > 0 {
			t.buf = append(t.buf, ',')
		}
		t.buf = append(t.buf, `{"verdict":"`...)
		t.buf = append(t.buf, all[i].Outcome.String()...)
		t.buf = append(t.buf, '"')
		t.str("rule", all[i].Rule)
		if len(all[i].Columns) > 0 {
			t.key("columns", "")
			for j, c := range all[i].Columns {
				t.buf = append(t.buf, "[,"[min(j, 1)])
				t.buf = strconv.AppendInt(t.buf, int64(c), 10)
			}
			t.buf = append(t.buf, ']')
		}
		t.buf = append(t.buf, '}')
	}
	t.buf = append(t.buf, ']')
}

// strs appends a list of strings, unless there are none.
func (t *Turn) strs(key string, all []string) {
	if len(all) == 0 {
		return
	}
	t.key(key, "")
	for i, s := range all {
		t.buf = append(t.buf, "[,"[min(i, 1)], '"')
		t.buf, _ = appendEscaped(t.buf, []byte(s))
		t.buf = append(t.buf, '"')
	}
	t.buf = append(t.buf, ']')
}

// maskedBy appends what was masked, by rule or pattern.
func maskedBy(t *Turn, by []decoders.Count) {
	if len(by) == 0 {
		return
	}
	t.key("by", "")
	for i, c := range by {
		t.buf = append(t.buf, "{,"[min(i, 1)], '"')
		t.buf, _ = appendEscaped(t.buf, []byte(c.Name))
		t.buf = append(t.buf, `":`...)
		t.buf = strconv.AppendInt(t.buf, c.N, 10)
	}
	t.buf = append(t.buf, '}')
}

// End puts the session's last record into t.
func (l *Log) End(t *Turn, now time.Time, e End) {
	l.open(t, "close", now)
	t.str("reason", e.Reason)
	t.int("ns", now.Sub(l.start).Nanoseconds())
	t.int("from_client", e.FromClient)
	t.int("from_server", e.FromServer)
	t.int("unsent", e.Unsent)
	t.int("statements", l.counts.statements)
	t.int("denied", l.counts.denied)
	t.int("failed", l.counts.failed)
	t.int("rows", l.counts.rows)
	t.int("bytes", l.counts.bytes)
	t.int("masked", l.counts.masked)
	t.close()
}
