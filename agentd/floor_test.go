package agentd_test

import (
	"strings"
	"testing"

	"agentd.dev/agentd"
)

func TestTheFloorIsASizeOrAShare(t *testing.T) {
	for text, want := range map[string]agentd.Floor{
		"1.5GiB": {Size: 3 << 29},
		"5%":     {Percent: 5},
		"0.5%":   {Percent: 0.5},
	} {
		c, _, err := config(t, "record: {floor: "+text+"}\n")
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if c.Record.Floor != want {
			t.Errorf("%s: got %+v, want %+v", text, c.Record.Floor, want)
		}
	}
	for _, text := range []string{"0%", "91%", "NaN%", "%", "5 percent", "-1%"} {
		if _, _, err := config(t, "record: {floor: "+text+"}\n"); err == nil || !strings.Contains(err.Error(), "MiB") {
			t.Errorf("%s: got %v, want to be told how to write it", text, err)
		}
	}
}
