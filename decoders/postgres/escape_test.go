package postgres

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestWordsKeepQuotedNamesWhole(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []string
	}{
		{`select "a ""b"" c"."d"`, []string{"select", `"a ""b"" c"`, ".", `"d"`}},
		{`f(u&"\0061" uescape ?, $1)`, []string{"f", "(", `u&"\0061"`, "uescape", "?", ",", "$1", ")"}},
		{`""`, []string{`""`}},
		{`"open`, []string{`"open`}},
		{`u & "a"`, []string{"u", "&", `"a"`}},
	} {
		if got := words(tt.text); !slices.Equal(got, tt.want) {
			t.Errorf("words(%s) = %q, want %q", tt.text, got, tt.want)
		}
	}
}

func TestWordsTakeTimeLinearInTheText(t *testing.T) {
	start := time.Now()
	words(strings.Repeat(`""`, 1<<19))
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("a megabyte of quotes took %v", took)
	}
}
