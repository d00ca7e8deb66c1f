package index

import (
	"database/sql"
	"errors"
	"math/bits"
	"strings"
	"time"

	"agentd.dev/recorder"
)

// The kinds of facets that are words.
const (
	byWorkload       = "workload"
	byNamespace      = "namespace"
	byPod            = "pod"
	byServiceAccount = "service account"
	byOwner          = "owner"
	byTarget         = "target"
	byHost           = "host"
	byProtocol       = "protocol"
	byUser           = "user"
	byDatabase       = "database"
	byClaim          = "claim"
	byVerb           = "verb"
	byTable          = "table"               // as it is recorded
	byName           = "table of any schema" // without its schema
	byVerdict        = "verdict"
	byRule           = "rule"
	byApproval       = "approval"
	byApprover       = "approver"
	byGroup          = "group of approvers"
	byState          = "state"
	// These are not chosen by: they save room in the rows.
	lists = "list"
	codes = "code"
	kinds = "kind"
)

// maxNames is how many names are remembered while reading or writing.
const maxNames = 1 << 15

// naming gives words numbers.
type naming struct {
	ids      map[[2]string]facet
	get, put *sql.Stmt
}

func newNaming(tx *sql.Tx) (n *naming, err error) {
	n = &naming{ids: map[[2]string]facet{}}
	if n.get, err = tx.Prepare("select id from facets where kind = ? and value = ?"); err == nil {
		n.put, err = tx.Prepare("insert into facets (kind, value) values (?,?)")
	}
	return n, err
}

// id returns the facet of a word, everything for the empty one.
func (n *naming) id(kind, value string) (facet, error) {
	if value == "" {
		return everything, nil
	}
	key := [2]string{kind, value}
	if f, ok := n.ids[key]; ok {
		return f, nil
	}
	if len(n.ids) >= maxNames {
		clear(n.ids)
	}
	var f facet
	err := n.get.QueryRow(kind, value).Scan(&f)
	if errors.Is(err, sql.ErrNoRows) {
		var done sql.Result
		if done, err = n.put.Exec(kind, value); err == nil {
			var id int64
			id, err = done.LastInsertId()
			f = facet(id)
		}
	}
	if err == nil {
		n.ids[key] = f
	}
	return f, err
}

// words are facets as kind and value.
type words [][2]string

func (w *words) add(kind string, values ...string) {
	for _, v := range values {
		if v != "" {
			*w = append(*w, [2]string{kind, v})
		}
	}
}

func (w *words) claims(claims map[string]string) {
	for key, value := range claims {
		w.add(byClaim, key+"="+value)
	}
}

// tables adds tables, with and without their schemas.
func (w *words) tables(names []string) {
	for _, name := range names {
		w.add(byTable, name)
		w.add(byName, name[strings.LastIndexByte(name, '.')+1:])
	}
}

// ofSession are the facets that a session gives its statements.
func ofSession(s *recorder.Summary) (w words) {
	w.add(byWorkload, s.Workload)
	w.add(byNamespace, s.Namespace)
	w.add(byPod, s.Pod)
	w.add(byServiceAccount, s.ServiceAccount)
	w.add(byOwner, s.Owner)
	w.add(byTarget, s.Target)
	w.add(byHost, s.Host)
	w.add(byProtocol, s.Protocol)
	w.add(byUser, s.User)
	w.add(byDatabase, s.Database)
	w.claims(s.Claims)
	return w
}

// minuteOf is the facet of the minute of a time in nanoseconds.
func minuteOf(t int64) facet { return minutes + facet(floor(t, int64(time.Minute))) }

func floor(a, b int64) int64 {
	if a < 0 {
		return -((b - 1 - a) / b)
	}
	return a / b
}

func rowsOf(n int64) facet { return rowsLike + facet(bits.Len64(uint64(max(n, 0)))) }
func tookOf(n int64) facet { return tookLike + facet(min(bits.Len64(uint64(max(n, 0))), 63)) }
