package index

import (
	"encoding/json"
	"strings"

	"agentd.dev/recorder"
)

// A row is a statement in the table of them.
type row struct {
	id, session, seq, time, segment, at int64
	kind                                string
	verbs, tables                       []string
	verdict, rule, approval             string
	rows, ns                            int64
	code                                string
	claims                              map[string]string

	ids       [7]int64 // of its words, as they were read
	ownClaims string

	written bool
	late    []facet // that it was written with
}

const rowColumns = "s.id, s.session, s.seq, s.time, s.kind, s.segment, s.at, s.verbs, s.tables, s.verdict, s.rule, s.approval, s.rows, s.ns, s.code, s.claims"

// scan reads a row, of which resolve then says what its words are.
func (r *row) scan(from interface{ Scan(...any) error }) error {
	i := &r.ids
	return from.Scan(&r.id, &r.session, &r.seq, &r.time, &i[0], &r.segment, &r.at, &i[1], &i[2], &i[3], &i[4], &i[5], &r.rows, &r.ns, &i[6], &r.ownClaims)
}

// resolve looks up the words of a row; word says what the number of a facet stands for.
func (r *row) resolve(word func(int64) (string, error)) (err error) {
	var verbs, tables string
	for i, to := range []*string{&r.kind, &verbs, &tables, &r.verdict, &r.rule, &r.approval, &r.code} {
		if *to, err = word(r.ids[i]); err != nil {
			return err
		}
	}
	r.verbs, r.tables = strings.Fields(verbs), strings.Fields(tables)
	if r.ownClaims != "" {
		return json.Unmarshal([]byte(r.ownClaims), &r.claims)
	}
	return nil
}

// statement adds one that is asked now, and its facets that do not change.
func (u *updating) statement(s *session, e *recorder.Event, p recorder.Position, m *meaning) error {
	r := &row{
		id: p.Index, session: s.number, seq: int64(e.Seq), time: e.Time.UnixNano(), segment: m.Segment, at: m.At,
		kind: e.Kind, verbs: m.Verbs, tables: m.Tables, verdict: e.Verdict, rule: e.Rule, approval: e.Approval, claims: m.Claims,
	}
	s.asked[e.Seq] = r
	if _, err := u.addWords.Exec(r.id, m.text); err != nil {
		return err
	}
	if err := u.learn(m.text); err != nil {
		return err
	}
	if err := u.within(r); err != nil {
		return err
	}
	for _, f := range append([]facet{everything, of(s.number), minuteOf(r.time)}, s.static...) {
		if err := u.postings.add(f, r.id); err != nil {
			return err
		}
	}
	var w words
	w.add(byVerb, r.verbs...)
	w.tables(r.tables)
	w.claims(r.claims)
	return u.have(s, r.id, w)
}

// have gives a statement, and so its session, facets that are words.
func (u *updating) have(s *session, id int64, w words) error {
	for _, w := range w {
		f, err := u.naming.id(w[0], w[1])
		if err != nil {
			return err
		}
		if err := u.postings.add(f, id); err != nil {
			return err
		}
		if err := u.mark(s, f); err != nil {
			return err
		}
	}
	return nil
}

// within notes when a block was.
func (u *updating) within(r *row) error {
	if block := r.id >> blockBits; u.block.last == 0 || u.block.block != block {
		if err := u.endBlock(); err != nil {
			return err
		}
		u.block = span{block, r.time, r.time}
	}
	u.block.first, u.block.last = min(u.block.first, r.time), max(u.block.last, r.time)
	return nil
}

func (u *updating) endBlock() error {
	if u.block.last == 0 {
		return nil
	}
	_, err := u.addBlock.Exec(u.block.block, u.block.first, u.block.last)
	return err
}

// settle writes what is known now to be all of a statement.
func (u *updating) settle(s *session, r *row) error {
	delete(s.asked, uint64(r.seq))
	return u.write(s, r)
}

// write writes a row, with the facets that came late in place of those it had.
func (u *updating) write(s *session, r *row) error {
	if r.written {
		for _, f := range r.late {
			if err := u.postings.remove(f, r.id); err != nil {
				return err
			}
		}
	}
	late, err := u.lateOf(r)
	if err != nil {
		return err
	}
	for _, f := range late {
		if err := u.postings.add(f, r.id); err != nil {
			return err
		}
		if err := u.mark(s, f); err != nil {
			return err
		}
	}
	r.written, r.late = true, late
	return u.insert(r)
}

// lateOf are the facets of a statement that are known late.
func (u *updating) lateOf(r *row) (late []facet, err error) {
	var w words
	w.add(byVerdict, r.verdict)
	w.add(byRule, r.rule)
	w.add(byApproval, r.approval)
	if r.approval != "" {
		if err := u.votes(r.approval, &w); err != nil {
			return nil, err
		}
	}
	for _, w := range w {
		f, err := u.naming.id(w[0], w[1])
		if err != nil {
			return nil, err
		}
		late = append(late, f)
	}
	late = append(late, rowsOf(r.rows), tookOf(r.ns))
	if r.code != "" {
		late = append(late, failed)
	}
	if r.verdict == "deny" || r.verdict == "close" {
		late = append(late, denied)
	}
	return late, nil
}

func (u *updating) insert(r *row) error {
	var ids [7]facet
	for i, w := range [][2]string{
		{kinds, r.kind},
		{lists, strings.Join(r.verbs, " ")},
		{lists, strings.Join(r.tables, " ")},
		{byVerdict, r.verdict},
		{byRule, r.rule},
		{byApproval, r.approval},
		{codes, r.code},
	} {
		var err error
		if ids[i], err = u.naming.id(w[0], w[1]); err != nil {
			return err
		}
	}
	var claims string
	if len(r.claims) > 0 {
		text, err := json.Marshal(r.claims)
		if err != nil {
			return err
		}
		claims = string(text)
	}
	_, err := u.addRow.Exec(r.id, r.session, r.seq, r.time, int64(ids[0]), r.segment, r.at, int64(ids[1]), int64(ids[2]),
		int64(ids[3]), int64(ids[4]), int64(ids[5]), r.rows, r.ns, int64(ids[6]), claims)
	return err
}

// votes adds who voted on a request for approval.
func (u *updating) votes(approval string, w *words) error {
	rows, err := u.getVotes.Query(approval)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var who, groups string
		if err := rows.Scan(&who, &groups); err != nil {
			return err
		}
		w.add(byApprover, who)
		w.add(byGroup, strings.Split(groups, ",")...)
	}
	return rows.Err()
}
