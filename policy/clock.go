package policy

import (
	"strings"
	"time"
	_ "time/tzdata" // zones are known where the host has no table of them, as in agentd's image

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"

	"agentd.dev/policy/document"
)

// hands are what conditions can ask about the time, in the time zone of their
// file. Nothing finer than a minute: verdicts that depend on it are remembered
// as long as that.
var hands = []struct {
	name string
	typ  *cel.Type
	doc  string
	of   func(time.Time) any
}{
	{"now.hour", cel.IntType, "0 to 23", func(t time.Time) any { return int64(t.Hour()) }},
	{"now.minute", cel.IntType, "0 to 59", func(t time.Time) any { return int64(t.Minute()) }},
	{"now.weekday", cel.StringType, `"mon", "tue", "wed", "thu", "fri", "sat" or "sun"`, func(t time.Time) any { return strings.ToLower(t.Format("Mon")) }},
	{"now.date", cel.StringType, `as "2026-03-01"; later dates are greater`, func(t time.Time) any { return t.Format(time.DateOnly) }},
}

// timely reports whether a name is one of hands.
func timely(name string) bool {
	for i := range hands {
		if hands[i].name == name {
			return true
		}
	}
	return false
}

// timed reports whether a condition asks for the time.
func (r *reading) timed() bool {
	for _, m := range r.mentions {
		if timely(m.path) {
			return true
		}
	}
	return false
}

// A clock is the time at which an event is judged.
type clock struct {
	moment time.Time
	zone   *time.Location // of the rule that is being evaluated
	asked  bool           // somebody wanted to know
}

// tell returns what a hand says. It does not point anywhere before there is an
// event.
func (c *clock) tell(name string, inEvent bool) (value any, ok bool) {
	if !strings.HasPrefix(name, "now.") {
		return nil, false
	}
	for i := range hands {
		if hands[i].name != name {
			continue
		}
		if !inEvent {
			return types.NewUnknown(0, nil), true
		}
		c.asked = true
		return hands[i].of(c.moment.In(c.zone)), true
	}
	return nil, false
}

// minute is the minute of a time: equal for times that no condition tells apart.
func minute(t time.Time) int64 { return t.Unix() / 60 }

// readZone reads a time zone by its name.
func readZone(to **time.Location) func(document.Value) {
	return func(v document.Value) {
		name, ok := v.Text()
		if !ok {
			return
		}
		zone, err := time.LoadLocation(name)
		if err != nil || name == "" || name == "Local" {
			v.Problem("%q is no time zone: write one as Europe/Berlin, or UTC", name)
			return
		}
		*to = zone
	}
}
