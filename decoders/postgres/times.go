package postgres

import (
	"encoding/binary"
	"math"
	"time"
)

// Dates and times are counted from the beginning of 2000.
const (
	epochUnix = 946684800
	dayForm   = "2006-01-02"
	timeForm  = "2006-01-02 15:04:05.999999"
	zoneForm  = "2006-01-02 15:04:05.999999-07"
)

// readDate appends a date in ISO form.
func readDate(dst, b []byte) ([]byte, bool) {
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
	return time.Unix(epochUnix+int64(days)*86400, 0).UTC().AppendFormat(dst, dayForm), true
}

// writeDate appends a date from its ISO form.
func writeDate(dst, text []byte) ([]byte, bool) {
	t, err := time.Parse(dayForm, string(text))
	if err != nil {
		return dst, false
	}
	return binary.BigEndian.AppendUint32(dst, uint32(int32((t.Unix()-epochUnix)/86400))), true
}

// readTimestamp appends a point in time in ISO form, which for one with a zone
// is that of UTC.
func readTimestamp(dst, b []byte) ([]byte, bool) {
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
	return time.UnixMicro(micros).Add(epochUnix*time.Second).UTC().AppendFormat(dst, timeForm), true
}

// readZoned is readTimestamp for one with a zone.
func readZoned(dst, b []byte) ([]byte, bool) {
	dst, ok := readTimestamp(dst, b)
	if ok && dst[len(dst)-1] != 'y' {
		dst = append(dst, "+00"...)
	}
	return dst, ok
}

// showTimestamp and showZoned write a point in time in full, as a server does
// with DateStyle ISO and in UTC.
func showTimestamp(dst, text []byte) ([]byte, bool) {
	b, ok := writeTimestamp(nil, text)
	if !ok {
		return dst, false
	}
	return readTimestamp(dst, b)
}

func showZoned(dst, text []byte) ([]byte, bool) {
	b, ok := writeZoned(nil, text)
	if !ok {
		return dst, false
	}
	return readZoned(dst, b)
}

// writeTimestamp appends a point in time from its ISO form, or a date's.
func writeTimestamp(dst, text []byte) ([]byte, bool) {
	return pointInTime(dst, text, timeForm, dayForm)
}

// writeZoned is writeTimestamp for one with a zone; without one it is of UTC.
func writeZoned(dst, text []byte) ([]byte, bool) {
	return pointInTime(dst, text, zoneForm, "2006-01-02 15:04:05.999999Z07:00", timeForm, dayForm)
}

func pointInTime(dst, text []byte, forms ...string) ([]byte, bool) {
	for _, form := range forms {
		if t, err := time.Parse(form, string(text)); err == nil {
			return binary.BigEndian.AppendUint64(dst, uint64(t.UnixMicro()-epochUnix*1e6)), true
		}
	}
	return dst, false
}
