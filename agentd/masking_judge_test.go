package agentd_test

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgtype"

	"agentd.dev/agentd/internal/dialogue"
)

// A secret is a protected value, as text, and how else the client could be
// given it.
type secret struct {
	column string
	texts  []string
	oid    uint32 // of its type, of which the binary form is looked for; 0 for none
}

// Needles are signs of secrets, each with what it shows, by their length.
type needles map[int]map[string]string

func (n needles) add(bytes, shows string) {
	if n[len(bytes)] == nil {
		n[len(bytes)] = map[string]string{}
	}
	n[len(bytes)][bytes] = shows
}

// in says what text shows, "" if nothing.
func (n needles) in(text string) string {
	for size, all := range n {
		for i := 0; i+size <= len(text); i++ {
			if shows := all[text[i:i+size]]; shows != "" {
				return shows
			}
		}
	}
	return ""
}

// A judge finds protected values in what a client has heard, whatever they
// were turned into on their way.
type judge struct {
	folded, lower, exact needles
	steps                map[[octets - 1]int64]string // columns by runs of characters
	shapes               needles
	types                *pgtype.Map
}

const (
	window = 8 // characters of a text that give it away
	octets = 8 // bytes, in an encoding
)

func newJudge(secrets []secret) *judge {
	j := &judge{
		folded: needles{}, lower: needles{}, exact: needles{}, shapes: needles{},
		types: pgtype.NewMap(), steps: map[[octets - 1]int64]string{},
	}
	for _, s := range secrets {
		if s.oid != 0 {
			j.exact.add(j.binary(s.oid, s.texts[0]), s.column+" in binary")
		}
		for _, text := range s.texts {
			j.text(s.column, text)
		}
	}
	return j
}

// binary returns a value's binary form.
func (j *judge) binary(oid uint32, text string) string {
	typ, _ := j.types.TypeForOID(oid)
	value, err := typ.Codec.DecodeValue(j.types, oid, pgtype.TextFormatCode, []byte(text))
	if err != nil {
		panic(err)
	}
	b, err := j.types.Encode(oid, pgtype.BinaryFormatCode, value, nil)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func (j *judge) text(column, text string) {
	for _, w := range windows(fold(text), window) {
		j.folded.add(w, column+" in plain")
		j.folded.add(reverse(w), column+" reversed")
	}
	for _, cased := range []string{text, strings.ToLower(text), strings.ToUpper(text)} {
		for _, w := range windows(cased, octets) {
			j.lower.add(hex.EncodeToString([]byte(w)), column+" in hexadecimal")
			if len(w) == octets {
				j.steps[[octets - 1]int64(steps([]byte(w)))] = column
			}
		}
		for _, w := range windows(cased, octets+1) {
			j.exact.add(strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(w)), "="), column+" in base64")
		}
		for _, sum := range sums([]byte(cased)) {
			j.exact.add(string(sum), column+" as a hash")
			j.lower.add(hex.EncodeToString(sum), column+" as a hash")
			j.exact.add(base64.StdEncoding.EncodeToString(sum), column+" as a hash")
		}
	}
	if len(text) > 2*window {
		j.shapes.add(pattern([]byte(text)), column+" with its characters replaced")
	}
}

func sums(text []byte) [][]byte {
	a, b, c, d, e, f := md5.Sum(text), sha1.Sum(text), sha256.Sum224(text), sha256.Sum256(text), sha512.Sum384(text), sha512.Sum512(text)
	return [][]byte{a[:], b[:], c[:], d[:], e[:], f[:]}
}

// windows returns every piece of text that is size bytes long, text itself if
// it is shorter.
func windows(text string, size int) []string {
	var out []string
	for i := 0; i == 0 || i+size <= len(text); i++ {
		out = append(out, text[i:min(i+size, len(text))])
	}
	return out
}

// fold returns the letters and digits of text, small.
func fold(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		}
		return -1
	}, text)
}

func reverse(text string) string {
	b := []byte(text)
	slices.Reverse(b)
	return string(b)
}

func steps[T byte | int64](codes []T) []int64 {
	var out []int64
	for i := 1; i < len(codes); i++ {
		out = append(out, int64(codes[i])-int64(codes[i-1]))
	}
	return out
}

// pattern says which bytes of text are alike, and nothing else.
func pattern(text []byte) string {
	var first [256]byte
	out := make([]byte, len(text))
	next := byte(1)
	for i, c := range text {
		if first[c] == 0 {
			first[c] = next
			next++
		}
		out[i] = first[c]
	}
	return string(out)
}

// finds says which secret a client was shown, and how, "" if it was shown none.
func (j *judge) finds(h *dialogue.Heard) string {
	e := j.read(h)
	for _, stream := range e.streams() {
		text := string(stream)
		plain := fold(text)
		for _, shows := range []string{j.folded.in(plain), j.lower.in(plain), j.exact.in(text)} {
			if shows != "" {
				return shows
			}
		}
		if column := j.codes(numbers(text)); column != "" {
			return column + " as codes"
		}
	}
	for _, cell := range e.cells {
		for size, all := range j.shapes {
			for i := 0; i+size <= len(cell); i++ {
				if shows := all[pattern(cell[i:i+size])]; shows != "" {
					return shows
				}
			}
		}
	}
	return ""
}

// codes says which secret's characters the numbers are the codes of, each with
// the same added to it or taken from it, "" if of none.
func (j *judge) codes(numbers []int64) string {
	differ := steps(numbers)
	for i := 0; i+octets-1 <= len(differ); i++ {
		run := [octets - 1]int64(differ[i:])
		if column := j.steps[run]; column != "" {
			return column
		}
		for k := range run {
			run[k] = -run[k]
		}
		if column := j.steps[run]; column != "" {
			return column
		}
	}
	return ""
}

var number = regexp.MustCompile(`-?[0-9]+`)

func numbers(text string) []int64 {
	var out []int64
	for _, n := range number.FindAllString(text, -1) {
		if v, err := strconv.ParseInt(n, 10, 64); err == nil {
			out = append(out, v)
		}
	}
	return out
}
