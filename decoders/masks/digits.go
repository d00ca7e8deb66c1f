package masks

// Digits replaces each digit of a value by another that follows from the key
// and from all of the value's digits; everything else stays as it is. A card
// number stays one by its looks, and the same digits, however they are grouped,
// become the same.
//
// This is no encryption, and not the FF1 of NIST SP 800-38G: nothing brings the
// value back, with or without the key, and of short values several become the
// same.
type Digits struct {
	Key *Key // nil: no value has a replacement
}

// maxDigits is how many digits are looked at. Those of longer values, which are
// no numbers of anything, follow from these.
const maxDigits = 1024

// Append implements decoders.Way. Letters are kept: use it for numbers. What
// has no digits has no replacement.
func (d Digits) Append(dst, value []byte) ([]byte, bool) {
	if d.Key == nil {
		return dst, false
	}
	s := d.Key.take()
	defer d.Key.give(s)
	s.digits = s.digits[:0]
	for _, c := range value {
		if '0' <= c && c <= '9' && len(s.digits) < maxDigits {
			s.digits = append(s.digits, c)
		}
	}
	if len(s.digits) == 0 && len(value) > 0 {
		return dst, false
	}
	s.of(forDigits, s.digits)
	for _, c := range value {
		if '0' <= c && c <= '9' {
			c = s.digit()
		}
		dst = append(dst, c)
	}
	return dst, true
}

// digit returns the next of as many pseudo-random digits as are wanted. Bytes
// from 250 on are left out, so that all digits are equally likely.
func (s *state) digit() byte {
	for {
		if s.used == len(s.sum) {
			s.digits = append(s.digits[:0], s.sum[:]...)
			s.of(forDigits, s.digits)
		}
		b := s.sum[s.used]
		s.used++
		if b < 250 {
			return '0' + b%10
		}
	}
}
