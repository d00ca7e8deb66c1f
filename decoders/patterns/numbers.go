package patterns

import "agentd.dev/decoders"

// shortest is how many bytes the shortest of all numbers has: 1.1.1.1.
const shortest = 7

// walk finds numbers. Every shortest-th byte is looked at: of each number one
// such byte is a digit, or stands beside one. From there the walk takes in all
// that can be of the same number.
func (s *Set) walk(dst []decoders.Span, text []byte) []decoders.Span {
	end := 0 // of what was taken in
	for i := shortest - 1; i < len(text); i += shortest {
		switch c := class[text[i]]; {
		case c&number == 0:
			continue
		case c&digit == 0 && !is(text, i-1, digit) && !is(text, i+1, digit):
			continue
		}
		from, to := i, i+1
		digits := int(class[text[i]] & digit)
		for from > end && class[text[from-1]]&number != 0 {
			from--
			digits += int(class[text[from]] & digit)
		}
		for to < len(text) && class[text[to]]&number != 0 {
			digits += int(class[text[to]] & digit)
			to++
		}
		end, i = to, to
		if digits >= s.fewest && to-from >= shortest {
			dst = s.look(dst, text, from, to, digits)
		}
	}
	return dst
}

// look appends the numbers of which the digits are within text[from:to], where
// there are so many.
func (s *Set) look(dst []decoders.Span, text []byte, from, to, digits int) []decoders.Span {
	for i := from; i < to; {
		if class[text[i]]&digit == 0 {
			i++
			continue
		}
		next := i
		for j := range s.numbers {
			if digits < s.numbers[j].digits {
				continue
			}
			if f, t := s.numbers[j].number(text, i); t > 0 {
				dst = append(dst, decoders.Span{From: f, To: t, Kind: s.numbers[j].kind})
				next = t
				break
			}
		}
		for i = next; i < to && class[text[i]]&digit != 0; {
			i++
		}
	}
	return dst
}

// group returns where the digits end that begin at text[i].
func group(text []byte, i int) int {
	for i < len(text) && class[text[i]]&digit != 0 {
		i++
	}
	return i
}

// goesOn reports whether a number goes on behind text[:to], as a version does
// behind its fourth dot.
func goesOn(text []byte, to int, joints string) bool {
	if is(text, to, digit) {
		return true
	}
	return joined(text, to, joints) && is(text, to+1, digit)
}

// wentOn reports whether a number went on before text[from:].
func wentOn(text []byte, from int, joints string) bool {
	if is(text, from-1, digit) {
		return true
	}
	return joined(text, from-1, joints) && is(text, from-2, digit)
}

// joined reports whether text[i] is one of joints.
func joined(text []byte, i int, joints string) bool {
	if uint(i) >= uint(len(text)) {
		return false
	}
	for j := range len(joints) {
		if text[i] == joints[j] {
			return true
		}
	}
	return false
}

// ssn finds ddd-dd-dddd, of which the Social Security Administration leaves
// some parts out.
func ssn(text []byte, at int) (from, to int) {
	to = at + len("ddd-dd-dddd")
	if group(text, at) != at+3 || !joined(text, at+3, "- ") || group(text, at+4) != at+6 || !joined(text, at+6, text3(text, at)) || group(text, at+7) != to {
		return 0, 0
	}
	if wentOn(text, at, "-") || goesOn(text, to, "-") {
		return 0, 0
	}
	switch area, group, serial := string(text[at:at+3]), string(text[at+4:at+6]), string(text[at+7:to]); {
	case area == "000", area == "666", area[0] == '9', group == "00", serial == "0000":
		return 0, 0
	}
	return at, to
}

// text3 is what joins the first part of a number to the second.
func text3(text []byte, at int) string {
	if text[at+3] == '-' {
		return "-"
	}
	return " "
}

// ip4 finds four numbers up to 255 between dots.
func ip4(text []byte, at int) (from, to int) {
	if wentOn(text, at, ".") || is(text, at-1, alpha) {
		return 0, 0
	}
	if to = dotted(text, at); to == 0 || goesOn(text, to, ".") {
		return 0, 0
	}
	return at, to
}

// dotted returns where the address of version 4 ends that begins at text[i], 0
// if none does.
func dotted(text []byte, i int) int {
	for part := range 4 {
		if part > 0 {
			if !joined(text, i, ".") {
				return 0
			}
			i++
		}
		end := group(text, i)
		n := 0
		for _, c := range text[i:min(end, i+3)] {
			n = 10*n + int(c-'0')
		}
		if end == i || end > i+3 || n > 255 || text[i] == '0' && end > i+1 {
			return 0
		}
		i = end
	}
	return i
}
