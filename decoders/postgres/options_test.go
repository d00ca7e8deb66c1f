package postgres_test

import (
	"slices"
	"testing"

	"agentd.dev/decoders"
)

// What a login sets is known as the server reads it: where that lets it in, the
// setting that a test makes has the value.
func TestALoginSaysWhatItSets(t *testing.T) {
	for _, tt := range []struct {
		params []string
		want   []string
		value  string // of role, "" if the server does not let it in
	}{
		{nil, nil, "none"},
		{[]string{"application_name", "x", "_pq_.other", "1"}, []string{"application_name"}, "none"},
		{[]string{"role", "pg_monitor"}, []string{"role"}, "pg_monitor"},
		{[]string{"ROLE", "pg_monitor"}, []string{"role"}, "pg_monitor"},
		{[]string{"options", "-c role=pg_monitor"}, []string{"role"}, "pg_monitor"},
		{[]string{"options", "  -crole=pg_monitor\t--work-mem=1MB"}, []string{"role", "work_mem"}, "pg_monitor"},
		{[]string{"options", `--r\ole=pg_monitor`}, []string{"role"}, "pg_monitor"},
		{[]string{"options", "--ROLE=pg_monitor"}, []string{"role"}, "pg_monitor"},
		{[]string{"options", `-c\ role=pg_monitor`}, []string{" role"}, ""},
		{[]string{"options", "-c role=none -c role=pg_monitor"}, []string{"role", "role"}, "pg_monitor"},
		{[]string{"options", "-fs -c role=pg_monitor"}, []string{"*"}, "pg_monitor"},
		{[]string{"options", "-S 1024"}, []string{"*"}, "none"},
		{[]string{"options", "-e -crole=pg_monitor"}, []string{"*"}, "pg_monitor"},
		{[]string{"options", "-c role"}, []string{"*"}, ""},
		{[]string{"options", "-c"}, []string{"*"}, ""},
		{[]string{"options", "role=pg_monitor"}, []string{"*"}, ""},
	} {
		p := startProxy(t, decoders.Want{}, allow, 0)
		c := connect(t, p.addr())
		c.send(startup(append([]string{"user", "postgres"}, tt.params...)...))
		r, err := c.next()
		for err == nil && r.typ != 'Z' && r.typ != 'E' {
			r, err = c.next()
		}
		value := ""
		if r.typ == 'Z' {
			value = values(c.run("show role"))[0]
		}
		if value != tt.value {
			t.Errorf("%q: role is %q (%v), want %q", tt.params, value, r, tt.value)
		}
		got, _ := p.seen(decoders.Login)[0].ev.Facts.Field("login.sets").([]string)
		if !slices.Equal(got, tt.want) {
			t.Errorf("%q: it sets %q, want %q", tt.params, got, tt.want)
		}
	}
}
