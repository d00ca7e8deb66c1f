package postgres

import (
	"encoding/hex"
	"testing"
	"unicode/utf8"
)

// Whatever a server says that a value is, it is printed or not, and what is
// printed is bounded.
func FuzzPrintValue(f *testing.F) {
	for _, seed := range []struct {
		oid   uint32
		value string
	}{
		{16, "01"},
		{17, "00ff"},
		{20, "ffffffffffffffff"},
		{21, "0001"},
		{23, "7fffffff"},
		{26, "ffffffff"},
		{25, "c3a4"},
		{700, "3f800000"},
		{701, "7ff0000000000000"},
		{1700, "0002000100000002162e0bb8"},
		{1700, "00007fff00003fff"},
		{1082, "80000000"},
		{1083, "000000141dd75fff"},
		{1114, "7fffffffffffffff"},
		{1184, "8000000000000000"},
		{1266, "0000000000000000ffffb9b0"},
		{1186, "ffffffffffffffff0000000100000002"},
		{869, "0220000401020304"},
		{650, "0308011020010db8000000000000000000000000"},
		{829, "08002b01020f"},
		{1560, "0000000dfff8"},
		{3220, "0000000100000000"},
		{3802, "017b7d"},
		{2950, "00112233445566778899aabbccddeeff"},
		{1007, "0000000100000001000000170000000200000001000000040000000fffffffff"},
		{1009, "00000000000000000000001900"},
		{1231, "00000001000000000000" + "06a4" + "0000000100000001" + "0000000800007fff00003fff"},
	} {
		value, err := hex.DecodeString(seed.value)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(seed.oid, value)
	}
	f.Fuzz(func(t *testing.T, oid uint32, value []byte) {
		before := []byte("before")
		out, ok := printValue(before, oid, value)
		if string(out[:len(before)]) != "before" {
			t.Errorf("type %d, %x: what was there became %q", oid, value, out[:len(before)])
		}
		if n := len(out) - len(before); n > 2*maxPrinted+16*len(value) {
			t.Errorf("type %d, %x: printed %d bytes", oid, value, n)
		}
		if ok && kindOf(oid).read == nil && !kindOf(oid).plain && printers[oid] != nil && oid != 194 && oid != 1790 && oid != 2278 && !utf8.Valid(out) {
			t.Errorf("type %d, %x: printed %q", oid, value, out)
		}
	})
}
