package grammar

import (
	"reflect"
	"testing"

	"agentd.dev/decoders/sql"
)

// fill sets everything in v to something that differs from everything else.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.String:
		v.SetString(string(rune('a' + *n)))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int:
		v.SetInt(int64(*n) << 10)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i), n)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	default:
		panic("a meaning has a field of a kind that this test does not know: " + v.Kind().String())
	}
}

func TestEveryFieldOfAMeaningGoesOverTheWire(t *testing.T) {
	var m sql.Meaning
	n := 0
	fill(reflect.ValueOf(&m).Elem(), &n)
	got, err := readMeaning(appendMeaning(nil, &m))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, &m) {
		t.Errorf("got  %+v\nwant %+v", got, &m)
	}
	// One flag at a time: none stands for another.
	for _, one := range []sql.Meaning{
		{Syntax: true},
		{Statements: []sql.Statement{{Open: true}, {Opaque: true}, {HasWhere: true}, {DDL: true}, {Utility: true}}},
		{Statements: []sql.Statement{{Outputs: []sql.Output{{Plain: true}, {Counts: true}, {Unclear: true}}, Tables: []sql.Table{{}, {Write: true}}}}},
	} {
		if got, err := readMeaning(appendMeaning(nil, &one)); err != nil || !reflect.DeepEqual(got, &one) {
			t.Errorf("got  %+v (%v)\nwant %+v", got, err, one)
		}
	}
}

func FuzzReadMeaning(f *testing.F) {
	var m sql.Meaning
	n := 0
	fill(reflect.ValueOf(&m).Elem(), &n)
	f.Add(appendMeaning(nil, &m))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := readMeaning(body)
		if err != nil {
			return
		}
		again, err := readMeaning(appendMeaning(nil, m))
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Errorf("%x is read as %+v, and that again as %+v (%v)", body, m, again, err)
		}
	})
}
