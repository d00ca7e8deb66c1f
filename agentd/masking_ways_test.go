package agentd_test

import (
	"os"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

// A way is a try to get at protected values.
type way struct {
	group, name string
	// text is what the agent says, one statement a line. In an oracle,
	// {{right|wrong}} stands for a right guess and a wrong one, and the way is
	// open if the answers to the two differ. What follows << is copied in.
	text string
	// over says in which protocols the way makes sense, as "s", "tb"; "" for all.
	over string
	// alone: what it changes outlives it, so it has a database of its own.
	// undone: it is wrapped in a transaction that is rolled back.
	alone, undone bool
	chief         bool // tried by a superuser
	slow          bool // an oracle by how long an answer takes
	// tells: what the client is shown is not the value but says something of
	// it. The way is open if it gets a row that it gets without agentd, too.
	tells bool
	// barred says why the way leads nowhere without agentd either.
	barred string
	// untried says why the way is not tried without agentd.
	untried string
	// say makes the turns in place of text.
	say func(p protocol) [][]byte
	// startup are parameters of the login.
	startup map[string]string
}

// ways are all of them, in the order of the document.
var ways = joined(
	waysOfReading,
	waysOfShaping,
	waysOfCode,
	waysOfMoving,
	waysOfTelling,
	waysOfGuessing,
	waysOfSpeaking,
	waysFromBefore,
)

func joined(themes ...[]way) []way {
	var all []way
	for _, theme := range themes {
		all = append(all, theme...)
	}
	return all
}

// chosen are the ways of which group and name match $WAYS, for whoever works on
// some of them; all if it is empty.
func chosen() []*way {
	match := regexp.MustCompile(os.Getenv("WAYS"))
	var out []*way
	for i := range ways {
		if w := &ways[i]; match.MatchString(w.group + ", " + w.name) {
			out = append(out, w)
		}
	}
	return out
}

// A protocol is how a statement goes to the server.
type protocol struct {
	name   string
	letter string
	format int16
}

var protocols = []protocol{{"simple", "s", 0}, {"extended text", "t", 0}, {"extended binary", "b", 1}}

func (w *way) goes(p protocol) bool { return w.over == "" || strings.Contains(w.over, p.letter) }

var guess = regexp.MustCompile(`\{\{(.*?)\|(.*?)\}\}`)

func (w *way) oracle() bool { return guess.MatchString(w.text) }

// turns are the messages of the way, with the right guess or the wrong one.
func (w *way) turns(p protocol, right bool, places *strings.Replacer) [][]byte {
	if w.say != nil {
		return w.say(p)
	}
	text := strings.TrimSpace(w.text)
	if right {
		text = guess.ReplaceAllString(text, "$1")
	} else {
		text = guess.ReplaceAllString(text, "$2")
	}
	text = places.Replace(text)
	var out [][]byte
	if w.undone {
		out = append(out, encoded(&pgproto3.Query{String: "begin"}))
	}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			line, rows, copies := strings.Cut(line, " << ")
			if out = append(out, p.statement(line)); copies {
				out = append(out, encoded(&pgproto3.CopyData{Data: []byte(rows + "\n")}, &pgproto3.CopyDone{}))
			}
		}
	}
	if w.undone {
		out = append(out, encoded(&pgproto3.Query{String: "rollback"}))
	}
	return out
}

// statement runs one statement.
func (p protocol) statement(text string) []byte {
	if p.letter == "s" {
		return encoded(&pgproto3.Query{String: text})
	}
	return encoded(
		&pgproto3.Parse{Query: text},
		&pgproto3.Bind{ResultFormatCodes: []int16{p.format}},
		&pgproto3.Describe{ObjectType: 'P'},
		&pgproto3.Execute{},
		&pgproto3.Sync{},
	)
}

func encoded(messages ...pgproto3.FrontendMessage) []byte {
	var out []byte
	for _, m := range messages {
		var err error
		if out, err = m.Encode(out); err != nil {
			panic(err)
		}
	}
	return out
}
