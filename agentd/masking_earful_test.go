package agentd_test

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgtype"

	"agentd.dev/agentd/internal/dialogue"
)

// An earful is what a client has heard, taken apart.
type earful struct {
	bodies, texts, copied bytes.Buffer // of all messages; of errors, notices, notifications; of COPY
	cells                 [][]byte     // of rows, as text
	columns               map[int]*bytes.Buffer
	nulls, rows           int
	failures              []pgproto3.ErrorResponse // and notices
	end                   string
}

func (j *judge) read(h *dialogue.Heard) *earful {
	e := &earful{columns: map[int]*bytes.Buffer{}, end: h.End}
	var fields []pgproto3.FieldDescription
	dialogue.Walk(joinedAnswers(h), func(kind byte, body []byte) {
		e.bodies.Write(body)
		switch kind {
		case 'T':
			var m pgproto3.RowDescription
			if m.Decode(body) == nil {
				fields = slices.Clone(m.Fields)
			}
		case 'D':
			var m pgproto3.DataRow
			if m.Decode(body) == nil {
				j.row(e, fields, m.Values)
			}
		case 'd':
			e.copied.Write(body)
		case 'E', 'N':
			var m pgproto3.ErrorResponse
			if m.Decode(body) == nil {
				e.failures = append(e.failures, m)
				fmt.Fprintln(&e.texts, m.Message)
			}
		case 'A':
			var m pgproto3.NotificationResponse
			if m.Decode(body) == nil {
				fmt.Fprintln(&e.texts, m.Payload)
			}
		}
	})
	return e
}

// joinedAnswers is all that came back in a session.
func joinedAnswers(h *dialogue.Heard) []byte {
	var all []byte
	for _, a := range h.Answers {
		all = append(all, a.Messages...)
	}
	return all
}

func (j *judge) row(e *earful, fields []pgproto3.FieldDescription, values [][]byte) {
	e.rows++
	for i, value := range values {
		if value == nil {
			e.nulls++
			continue
		}
		if i < len(fields) && fields[i].Format == pgtype.BinaryFormatCode {
			value = j.readable(fields[i].DataTypeOID, value)
		}
		e.cells = append(e.cells, value)
		if e.columns[i] == nil {
			e.columns[i] = &bytes.Buffer{}
		}
		e.columns[i].Write(append(value, ' '))
	}
}

// readable returns a binary value as text, as it is if it cannot be told.
func (j *judge) readable(oid uint32, value []byte) []byte {
	typ, ok := j.types.TypeForOID(oid)
	if !ok {
		return value
	}
	v, err := typ.Codec.DecodeValue(j.types, oid, pgtype.BinaryFormatCode, value)
	if err != nil {
		return value
	}
	if text, err := j.types.Encode(oid, pgtype.TextFormatCode, v, nil); err == nil {
		return text
	}
	return fmt.Append(nil, v)
}

// streams returns what may hold a value, or its pieces one behind the other.
func (e *earful) streams() [][]byte {
	out := [][]byte{e.bodies.Bytes(), e.texts.Bytes(), e.copied.Bytes(), bytes.Join(e.cells, []byte(" ")), []byte(e.end)}
	for _, c := range e.columns {
		out = append(out, c.Bytes())
	}
	return out
}
