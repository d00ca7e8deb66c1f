package agentd_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
)

// A talker makes up what a client says, in any order that the protocol can
// carry and in many that no driver uses. Each text has a tag of its own.
type talker struct {
	*rand.Rand
	session, said int
	forbidden     string // what texts that are refused say
}

// theEnd is what the last Query of each turn shows.
const theEnd = "that was all"

// turns are what one session says.
func (r *talker) turns() (turns [][]byte) {
	for range 1 + r.IntN(6) {
		var turn []byte
		for range 1 + r.IntN(14) {
			turn = append(turn, r.message()...)
		}
		switch r.IntN(4) { // else what comes next comes behind the answers to this, or between them
		case 0:
			turn = append(turn, lastWords...)
		case 1:
			turn = append(turn, frontend('S', "")...)
		}
		turns = append(turns, turn)
	}
	return append(turns, lastWords)
}

// lastWords end a turn in every state that messages before it may have left.
var lastWords = slices.Concat(frontend('f', "so\x00"), frontend('S', ""), frontend('Q', "rollback\x00"), frontend('Q', "select '"+theEnd+"'\x00"))

// message is the next one.
func (r *talker) message() []byte {
	switch r.IntN(34) {
	case 0, 1, 2:
		return frontend('Q', r.text()+"\x00")
	case 3:
		return frontend('Q', r.text()+"; "+r.text()+"\x00")
	case 4, 5, 6, 7, 8:
		return frontend('P', r.statement()+"\x00"+r.text()+"\x00\x00\x00")
	case 9, 10, 11, 12:
		return r.bind()
	case 13, 14, 15, 16, 17:
		return frontend('E', r.portal()+"\x00"+r.rows())
	case 18, 19:
		return frontend('D', r.name())
	case 20, 21:
		return frontend('C', r.name())
	case 22, 23, 24:
		return frontend('S', "")
	case 25:
		return frontend('H', "")
	case 26:
		return frontend('d', "1\n")
	case 27:
		return frontend([]byte{'c', 'f'}[r.IntN(2)], "")
	case 28, 29: // as drivers do, again
		portal := r.portal()
		return slices.Concat(frontend('B', portal+"\x00"+r.statement()+"\x00\x00\x00\x00\x00\x00\x00"), frontend('E', portal+"\x00"+r.rows()))
	default: // as drivers do
		name, portal := r.statement(), r.portal()
		return slices.Concat(frontend('P', name+"\x00"+r.text()+"\x00\x00\x00"), frontend('B', portal+"\x00"+name+"\x00\x00\x00\x00\x00\x00\x00"),
			frontend('D', "P"+portal+"\x00"), frontend('E', portal+"\x00\x00\x00\x00\x00"))
	}
}

func frontend(kind byte, body string) []byte {
	if kind == 'f' && body == "" {
		body = "\x00"
	}
	return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)+4)), body...)
}

func (r *talker) bind() []byte {
	formats := []string{"\x00\x00", "\x00\x01\x00\x01", "\x00\x03\x00\x00\x00\x01\x00\x00"}[max(0, r.IntN(6)-3)]
	return frontend('B', r.portal()+"\x00"+r.statement()+"\x00\x00\x00\x00\x00"+formats)
}

func (r *talker) statement() string { return []string{"", "s1", "s2"}[r.IntN(3)] }
func (r *talker) portal() string    { return []string{"", "", "p1"}[r.IntN(3)] }
func (r *talker) rows() string      { return "\x00\x00\x00" + string(rune(max(0, r.IntN(4)-1))) }

func (r *talker) name() string {
	if r.IntN(2) == 0 {
		return "S" + r.statement() + "\x00"
	}
	return "P" + r.portal() + "\x00"
}

// text is a statement or none.
func (r *talker) text() string {
	r.said++
	tag := fmt.Sprintf("/*g%d.%d*/", r.session, r.said)
	switch text := texts[r.IntN(len(texts))]; {
	case text == "":
		return ""
	case text == "forbidden":
		return fmt.Sprintf(r.forbidden, tag)
	default:
		return fmt.Sprintf(text, tag)
	}
}

// texts are what a statement says, and where its tag stands.
var texts = []string{
	"select 1 %s", "select 1 %s", "select %s n from generate_series(1, 4) n", "insert %s into g values (1)", "insert %s into g values (1), (2)",
	"insert %s into g values (null)", "delete %s from g where n = 5", "insert %s into late values (1), (1)", "table %s held", "select %s word from held",
	"forbidden", "forbidden", "selec %s", "select 1/0 %s", "select %s no_such_column from g", "",
	"begin %s", "commit %s", "rollback %s", "savepoint a %s", "rollback to a %s", "set %s work_mem = '1MB'",
	"copy %s g from stdin", "copy %s g to stdout", "copy %s (select 1) to stdout",
	"prepare %s s1 as select 1", "execute %s s1", "execute %s s2", "deallocate %s s1", "deallocate %s all", "discard %s all", "discard %s plans",
	"declare %s p1 cursor for select 1", "declare %s p1 cursor with hold for select n from generate_series(1, 4) n", "fetch %s all from p1", "close %s p1", "close %s all",
	"do %s $$begin execute 'deallocate s1'; execute 'prepare s1 as select 1 /*other*/'; end$$",
	"do %s $$begin execute 'close p1'; execute 'declare p1 cursor for select 1 /*other*/'; end$$",
}
