package document

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// A Size is a number of bytes.
type Size int64

// Int returns the size as an int.
func (s Size) Int() int { return int(s) }

// A Duration is a time.Duration as configuration writes it.
type Duration time.Duration

// sizeUnits are the units of sizes, longer names before those they end with.
var sizeUnits = []struct {
	name  string
	bytes float64
}{
	{"KiB", 1 << 10},
	{"MiB", 1 << 20},
	{"GiB", 1 << 30},
	{"TiB", 1 << 40},
	{"kB", 1e3},
	{"KB", 1e3},
	{"MB", 1e6},
	{"GB", 1e9},
	{"TB", 1e12},
	{"B", 1},
}

// ReadSize reads a number of bytes, as 64MiB, between least and most.
func ReadSize(to *Size, least, most Size) func(Value) {
	return func(v Value) {
		word, ok := v.Word()
		if !ok {
			return
		}
		n, ok := parseSize(word)
		switch {
		case !ok:
			v.Problem("%q is not a size: write a number and a unit, as 64MiB", word)
		case n < least || n > most:
			v.Problem("%s is out of range: from %s to %s", word, least, most)
		default:
			*to = n
		}
	}
}

func parseSize(word string) (Size, bool) {
	for _, unit := range sizeUnits {
		number, found := strings.CutSuffix(word, unit.name)
		if !found {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		bytes := n * unit.bytes
		if err != nil || !(bytes >= 0 && bytes < math.MaxInt64) {
			return 0, false
		}
		return Size(bytes), true
	}
	return 0, false
}

// String returns the size as configuration writes it.
func (s Size) String() string {
	for i := 3; i >= 0; i-- {
		if unit := Size(sizeUnits[i].bytes); s >= unit && s%unit == 0 {
			return strconv.FormatInt(int64(s/unit), 10) + sizeUnits[i].name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// ReadDuration reads a length of time, as 1s or 250ms, between least and most.
func ReadDuration(to *Duration, least, most time.Duration) func(Value) {
	return func(v Value) {
		word, ok := v.Word()
		if !ok {
			return
		}
		d, err := time.ParseDuration(word)
		switch {
		case err != nil:
			v.Problem("%q is not a length of time: write a number and a unit, as 1s or 250ms", word)
		case d < least || d > most:
			v.Problem("%s is out of range: from %s to %s", word, least, most)
		default:
			*to = Duration(d)
		}
	}
}
