package page

import (
	"strings"
	"testing"

	"agentd.dev/recorder"
)

// What there is no room for is left out, from there on, and said.
func TestAPageIsNoLargerThanABrowserReads(t *testing.T) {
	value, long := strings.Repeat("v", 100), strings.Repeat("é", 2*front)
	s := &recorder.Transcript{}
	for range 3 {
		s.Entries = append(s.Entries, &recorder.Entry{
			Text: recorder.Text{Text: long},
			Rows: []*recorder.Rows{{Rows: [][]*string{{&value}}}},
		})
	}
	c := contents(s, Page{}, 250, 2*len(long))
	for i, e := range c.Entries {
		fits := i < 2
		if e.RowsLeftOut == fits || (len(e.Rows) > 0) != fits {
			t.Errorf("entry %d: got rows %v, left out %v", i, e.Rows, e.RowsLeftOut)
		}
		if e.TextLeftOut == fits || (e.Text == long) != fits || !fits && e.Text != strings.Repeat("é", front/2) {
			t.Errorf("entry %d: got a text of %d bytes, left out %v", i, len(e.Text), e.TextLeftOut)
		}
	}
	if want := "the rows of 1 results are left out, and all but the front of 1 statements"; !strings.Contains(c.LeftOut, want) {
		t.Errorf("got %q, want %q in it", c.LeftOut, want)
	}
	if c := contents(s, Page{}, maxRows, maxTexts); c.LeftOut != "" {
		t.Errorf("got %q, want nothing left out", c.LeftOut)
	}
}
