package index

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"
)

// A Query chooses statements; a zero field chooses all.
type Query struct {
	// Text is words that follow each other in the statement; the last may go
	// on: `customer_ord` finds customer_orders. What is between words does not count.
	Text string

	Workload, Namespace, Pod, ServiceAccount, Target, Protocol, User, Database string
	Verb, Table, Verdict, Rule, Approval                                       string

	Since, Until time.Time // by when it was asked
	After        int64     // the Cursor of the last statement of the page before
	Limit        int       // 0 for all
}

// A Statement is one that was found.
type Statement struct {
	Cursor    int64         `json:"cursor"` // the index of its record
	Session   string        `json:"session"`
	Seq       uint64        `json:"seq"`
	Time      time.Time     `json:"time"`
	Kind      string        `json:"kind"`
	Workload  string        `json:"workload"`
	Namespace string        `json:"namespace,omitempty"`
	Pod       string        `json:"pod,omitempty"`
	Target    string        `json:"target,omitempty"`
	User      string        `json:"user,omitempty"`
	Text      string        `json:"text"`
	Verdict   string        `json:"verdict,omitempty"`
	Rule      string        `json:"rule,omitempty"`
	Approval  string        `json:"approval,omitempty"`
	Rows      int64         `json:"rows"`
	Took      time.Duration `json:"ns"`
	Code      string        `json:"code,omitempty"`

	segment, at int64
}

// Search returns the statements that q chooses, the latest first. A page is
// stable: what is recorded meanwhile comes before the first. An error that
// wraps recorder.ErrElsewhere says that the log contradicts the index.
func (x *Index) Search(ctx context.Context, q Query) ([]Statement, error) {
	text, args := q.sql()
	rows, err := x.db.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, fmt.Errorf("search the index: %w", err)
	}
	defer rows.Close()
	var found []Statement
	for rows.Next() {
		var s Statement
		var at int64
		if err := rows.Scan(&s.Cursor, &s.Session, &s.Seq, &at, &s.Kind, &s.Workload, &s.Namespace, &s.Pod, &s.Target, &s.User,
			&s.Verdict, &s.Rule, &s.Approval, &s.Rows, &s.Took, &s.Code, &s.segment, &s.at); err != nil {
			return nil, fmt.Errorf("search the index: %w", err)
		}
		s.Time = time.Unix(0, at).UTC()
		found = append(found, s)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("search the index: %w", err)
	}
	for i := range found {
		s := &found[i]
		t, err := x.folder.TextAt(s.segment, s.at, s.Session)
		if err != nil {
			return nil, err
		}
		s.Text = t.Text
	}
	return found, nil
}

func (q *Query) sql() (text string, args []any) {
	from, id, args := q.from()
	text = "select s.id, o.name, s.seq, s.time, s.kind, o.workload, o.namespace, o.pod, o.target, o.user, " +
		"s.verdict, s.rule, s.approval, s.rows, s.ns, s.code, s.segment, s.at from " + from + " order by " + id + " desc"
	if q.Limit > 0 {
		text += fmt.Sprintf(" limit %d", q.Limit)
	}
	return text, args
}

// from is the tables and conditions of a query, and what it calls a statement's id.
func (q *Query) from() (from, id string, args []any) {
	var where []string
	add := func(condition string, value any) {
		where, args = append(where, condition), append(args, value)
	}
	from, id = "statements s cross join sessions o on o.id = s.session", "s.id"
	if words := phrase(q.Text); words != "" {
		from, id = "words w cross join statements s on s.id = w.rowid cross join sessions o on o.id = s.session", "w.rowid"
		add("w.words match ?", words)
	}
	for _, f := range []struct{ column, value string }{
		{"o.workload", q.Workload},
		{"o.namespace", q.Namespace},
		{"o.pod", q.Pod},
		{"o.service_account", q.ServiceAccount},
		{"o.target", q.Target},
		{"o.protocol", q.Protocol},
		{"o.user", q.User},
		{"o.database", q.Database},
		{"s.verdict", q.Verdict},
		{"s.rule", q.Rule},
		{"s.approval", q.Approval},
	} {
		if f.value != "" {
			add(f.column+" = ?", f.value)
		}
	}
	if q.Verb != "" {
		add("instr(s.verbs, ?) > 0", " "+strings.ToLower(q.Verb)+" ")
	}
	if table := strings.ToLower(q.Table); table != "" { // with or without its schema
		where = append(where, "(instr(s.tables, ?) > 0 or instr(s.tables, ?) > 0)")
		args = append(args, " "+table+" ", "."+table+" ")
	}
	if !q.Since.IsZero() {
		add("s.time >= ?", q.Since.UnixNano())
	}
	if !q.Until.IsZero() {
		add("s.time < ?", q.Until.UnixNano())
	}
	if q.After > 0 {
		add(id+" < ?", q.After)
	}
	if len(where) > 0 {
		from += " where " + strings.Join(where, " and ")
	}
	return from, id, args
}

// phrase is text as FTS5 is asked for it, "" if there is no word in it.
func phrase(text string) string {
	if !HasWord(text) {
		return ""
	}
	return `"` + strings.ReplaceAll(text, `"`, " ") + `" *`
}

// HasWord reports whether there is something in text to search for.
func HasWord(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) })
}
