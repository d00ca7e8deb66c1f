package patterns

// phone finds telephone numbers: international ones behind a +, those of North
// America with the area in parentheses or with dots or dashes, and others whose
// area is in parentheses and begins with 0. Bare digits could be anything.
func phone(text []byte, at int) (from, to int) {
	switch {
	case joined(text, at-1, "+"):
		return international(text, at)
	case joined(text, at-1, "("):
		return area(text, at)
	}
	return american(text, at)
}

// international finds + and 8 to 15 digits (E.164) in groups.
func international(text []byte, at int) (from, to int) {
	if text[at] == '0' || is(text, at-2, alnum) || joined(text, at-2, "+") {
		return 0, 0
	}
	n := 0
	for i := at; ; {
		end := group(text, i)
		if n += end - i; n > 15 {
			break
		}
		if n >= 8 {
			to = end
		}
		i = end
		for range 3 { // as in "+44 (0)20" and "+1 (212) 555"
			if joined(text, i, " -./()") && !is(text, i, digit) {
				i++
			}
		}
		if i == end || !is(text, i, digit) {
			break
		}
	}
	if to == 0 {
		return 0, 0
	}
	return at - 1, to
}

// area finds (212) 555-0187 and (089) 1234567.
func area(text []byte, at int) (from, to int) {
	i := group(text, at)
	size := i - at
	if size < 2 || size > 5 || !joined(text, i, ")") {
		return 0, 0
	}
	i++
	if joined(text, i, " -/") {
		i++
	}
	from = at - 1
	if text[at] != '0' {
		if size != 3 {
			return 0, 0
		}
		if joined(text, from-1, " -.") && joined(text, from-2, "1") && !is(text, from-3, digit) {
			from -= 2
		}
		if to = exchange(text, at, i, "-. "); to == 0 {
			return 0, 0
		}
		return from, to
	}
	n := 0
	for {
		end := group(text, i)
		if n += end - i; end == i || size+n > 13 {
			break
		}
		if size+n >= 8 {
			to = end
		}
		if i = end; !joined(text, i, " -") {
			break
		}
		i++
	}
	if to == 0 {
		return 0, 0
	}
	return from, to
}

// american finds 212-555-0187, 212.555.0187 and 1-212-555-0187, with a space
// for one of the joints at most.
func american(text []byte, at int) (from, to int) {
	if wentOn(text, at, "-.") {
		return 0, 0
	}
	i := at
	if text[i] == '1' && group(text, i) == i+1 && joined(text, i+1, "-. ") {
		i += 2
	}
	if group(text, i) != i+3 || !joined(text, i+3, "-. ") {
		return 0, 0
	}
	if to = exchange(text, i, i+4, "-. "); to == 0 || text[i+3] == ' ' && text[i+7] == ' ' {
		return 0, 0
	}
	return at, to
}

// exchange returns where the number ends of which the area is at area and the
// rest, 555-0187, at i. Neither begins with 0 or 1. It is 0 if that is none.
func exchange(text []byte, area, i int, joints string) int {
	if text[area] < '2' || group(text, i) != i+3 || text[i] < '2' || !joined(text, i+3, joints) || group(text, i+4) != i+8 || goesOn(text, i+8, "-.") {
		return 0
	}
	return i + 8
}
