package postgres

import (
	"encoding/binary"
	"math"
	"strconv"
)

const (
	dayMicros = 86400 * 1e6
	// days2000 is how many days from 0000-03-01 the first of 2000 is.
	days2000 = 730425
	era      = 146097 // days in 400 years
)

func printDate(dst, b []byte) ([]byte, bool) {
	if len(b) != 4 {
		return dst, false
	}
	days := int32(binary.BigEndian.Uint32(b))
	switch days {
	case math.MaxInt32:
		return append(dst, "infinity"...), true
	case math.MinInt32:
		return append(dst, "-infinity"...), true
	}
	dst, bc := appendDay(dst, int64(days))
	return appendEra(dst, bc), true
}

// appendDay appends a day that is so many after the first of 2000, and reports
// whether it is one before Christ.
func appendDay(dst []byte, days int64) (_ []byte, bc bool) {
	days += days2000
	eras := days / era
	if days%era < 0 {
		eras--
	}
	inEra := days - eras*era
	year := (inEra - inEra/1460 + inEra/36524 - inEra/146096) / 365
	inYear := inEra - (365*year + year/4 - year/100) // from the first of March
	year += 400 * eras
	month := (5*inYear + 2) / 153
	day := inYear - (153*month+2)/5 + 1
	if month += 3; month > 12 {
		month -= 12
		year++
	}
	if bc = year <= 0; bc {
		year = 1 - year
	}
	dst = appendPadded(dst, year, 4)
	dst = appendPadded(append(dst, '-'), month, 2)
	return appendPadded(append(dst, '-'), day, 2), bc
}

func appendEra(dst []byte, bc bool) []byte {
	if bc {
		return append(dst, " BC"...)
	}
	return dst
}

func appendPadded(dst []byte, n int64, width int) []byte {
	for limit := int64(10); width > 1; width-- {
		if n < limit {
			for range width - 1 {
				dst = append(dst, '0')
			}
			break
		}
		limit *= 10
	}
	return strconv.AppendInt(dst, n, 10)
}

// appendTime appends a time of so many microseconds, not less than 0.
func appendTime(dst []byte, micros uint64) []byte {
	seconds, micros := micros/1e6, micros%1e6
	dst = appendPadded(dst, int64(seconds/3600), 2)
	dst = appendPadded(append(dst, ':'), int64(seconds/60%60), 2)
	dst = appendPadded(append(dst, ':'), int64(seconds%60), 2)
	if micros == 0 {
		return dst
	}
	dst = appendPadded(append(dst, '.'), int64(micros), 6)
	for dst[len(dst)-1] == '0' {
		dst = dst[:len(dst)-1]
	}
	return dst
}

func printTime(dst, b []byte) ([]byte, bool) {
	if len(b) != 8 {
		return dst, false
	}
	micros := binary.BigEndian.Uint64(b)
	if micros > dayMicros {
		return dst, false
	}
	return appendTime(dst, micros), true
}

// printTimeZoned appends a time and its zone, which is told in seconds west.
func printTimeZoned(dst, b []byte) ([]byte, bool) {
	if len(b) != 12 {
		return dst, false
	}
	dst, ok := printTime(dst, b[:8])
	zone := int64(int32(binary.BigEndian.Uint32(b[8:])))
	if !ok || zone > 86400 || zone < -86400 {
		return dst, false
	}
	sign := byte('+')
	if zone > 0 {
		sign = '-'
	} else {
		zone = -zone
	}
	dst = appendPadded(append(dst, sign), zone/3600, 2)
	if zone%3600 != 0 {
		dst = appendPadded(append(dst, ':'), zone/60%60, 2)
	}
	if zone%60 != 0 {
		dst = appendPadded(append(dst, ':'), zone%60, 2)
	}
	return dst, true
}

func printTimestamp(dst, b []byte) ([]byte, bool)      { return timestamp(dst, b, "") }
func printTimestampZoned(dst, b []byte) ([]byte, bool) { return timestamp(dst, b, "+00") }

func timestamp(dst, b []byte, zone string) ([]byte, bool) {
	if len(b) != 8 {
		return dst, false
	}
	micros := int64(binary.BigEndian.Uint64(b))
	switch micros {
	case math.MaxInt64:
		return append(dst, "infinity"...), true
	case math.MinInt64:
		return append(dst, "-infinity"...), true
	}
	days := micros / dayMicros
	rest := micros % dayMicros
	if rest < 0 {
		days, rest = days-1, rest+dayMicros
	}
	dst, bc := appendDay(dst, days)
	dst = appendTime(append(dst, ' '), uint64(rest))
	return appendEra(append(dst, zone...), bc), true
}

// printInterval appends an interval for IntervalStyle postgres: it is told in
// microseconds, days and months.
func printInterval(dst, b []byte) ([]byte, bool) {
	if len(b) != 16 {
		return dst, false
	}
	micros := int64(binary.BigEndian.Uint64(b))
	days, months := int32(binary.BigEndian.Uint32(b[8:])), int32(binary.BigEndian.Uint32(b[12:]))
	switch {
	case micros == math.MaxInt64 && days == math.MaxInt32 && months == math.MaxInt32: // since 17
		return append(dst, "infinity"...), true
	case micros == math.MinInt64 && days == math.MinInt32 && months == math.MinInt32:
		return append(dst, "-infinity"...), true
	}
	empty, before := true, false
	for _, part := range [...]struct {
		n    int32
		unit string
	}{{months / 12, "year"}, {months % 12, "mon"}, {days, "day"}} {
		if part.n == 0 {
			continue
		}
		if !empty {
			dst = append(dst, ' ')
		}
		if before && part.n > 0 {
			dst = append(dst, '+')
		}
		dst = append(append(strconv.AppendInt(dst, int64(part.n), 10), ' '), part.unit...)
		if part.n != 1 {
			dst = append(dst, 's')
		}
		empty, before = false, part.n < 0
	}
	if micros == 0 && !empty {
		return dst, true
	}
	if !empty {
		dst = append(dst, ' ')
	}
	size := uint64(micros)
	switch {
	case micros < 0:
		dst, size = append(dst, '-'), -size
	case before:
		dst = append(dst, '+')
	}
	return appendTime(dst, size), true
}
