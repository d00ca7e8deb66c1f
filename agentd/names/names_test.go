package names_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"agentd.dev/agentd/names"
)

var here = names.Place{NetNS: 1, Cgroup: 2, Workload: 3}

// A line is one resource of an answer: owner, type and what it says.
type line struct{ owner, kind, says string }

// message builds an answer to a question for name's addresses.
func message(t testing.TB, name string, ttl uint32, lines ...line) []byte {
	t.Helper()
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{Response: true})
	b.EnableCompression()
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	check(b.StartQuestions())
	check(b.Question(dnsmessage.Question{Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}))
	check(b.StartAnswers())
	for _, l := range lines {
		head := dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(l.owner), Class: dnsmessage.ClassINET, TTL: ttl}
		switch l.kind {
		case "CNAME":
			check(b.CNAMEResource(head, dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(l.says)}))
		case "A":
			check(b.AResource(head, dnsmessage.AResource{A: netip.MustParseAddr(l.says).As4()}))
		case "AAAA":
			check(b.AAAAResource(head, dnsmessage.AAAAResource{AAAA: netip.MustParseAddr(l.says).As16()}))
		case "TXT":
			check(b.TXTResource(head, dnsmessage.TXTResource{TXT: []string{l.says}}))
		}
	}
	text, err := b.Finish()
	check(err)
	return text
}

func TestTheNameOfAnAddressIsTheOneThatWasAskedFor(t *testing.T) {
	for _, tt := range []struct {
		about, name string
		lines       []line
		want        map[string]string
	}{
		{"an address", "Orders.Internal.", []line{{"orders.internal.", "A", "10.0.0.5"}}, map[string]string{"10.0.0.5": "orders.internal", "10.0.0.6": ""}},
		{"two families", "db.", []line{{"db.", "A", "10.0.0.5"}, {"db.", "AAAA", "fd00::5"}}, map[string]string{"10.0.0.5": "db", "fd00::5": "db", "::ffff:10.0.0.5": "db"}},
		{"aliases in any order", "a.x.", []line{{"c.x.", "A", "10.0.0.5"}, {"b.x.", "CNAME", "c.x."}, {"a.x.", "CNAME", "b.x."}}, map[string]string{"10.0.0.5": "a.x"}},
		{"a ring of aliases", "a.x.", []line{{"b.x.", "CNAME", "a.x."}, {"a.x.", "CNAME", "b.x."}, {"a.x.", "A", "10.0.0.5"}}, map[string]string{"10.0.0.5": "a.x"}},
		{"an address that the question does not lead to", "a.x.", []line{{"a.x.", "A", "10.0.0.5"}, {"bank.x.", "A", "10.0.0.6"}, {"b.x.", "CNAME", "bank.x."}}, map[string]string{"10.0.0.5": "a.x", "10.0.0.6": ""}},
		{"other records between", "a.x.", []line{{"a.x.", "TXT", "hello"}, {"a.x.", "A", "10.0.0.5"}}, map[string]string{"10.0.0.5": "a.x"}},
		{"a name that no host has", "a b.x.", []line{{"a b.x.", "A", "10.0.0.5"}}, map[string]string{"10.0.0.5": ""}},
		{"a name with a bell", "a\a.x.", []line{{"a\a.x.", "A", "10.0.0.5"}}, map[string]string{"10.0.0.5": ""}},
	} {
		var n names.Names
		n.Hear(here, message(t, tt.name, 60, tt.lines...), time.Second)
		for address, want := range tt.want {
			if got := n.Asked(here, netip.MustParseAddr(address), 2*time.Second); got != want {
				t.Errorf("%s: %s was asked for as %q, want %q", tt.about, address, got, want)
			}
		}
	}
}

func TestOnlyAnswersToQuestionsCount(t *testing.T) {
	good := message(t, "a.x.", 60, line{"a.x.", "A", "10.0.0.5"})
	change := func(at int, to byte) []byte {
		text := append([]byte(nil), good...)
		text[at] = to
		return text
	}
	for _, tt := range []struct {
		about   string
		message []byte
		want    string
	}{
		{"an answer", good, "a.x"},
		{"a question", change(2, 0), ""},
		{"a failure", change(3, 3), ""},
		{"no question", change(5, 0), ""},
		{"two questions", change(5, 2), ""},
		{"more answers than there are", change(7, 9), "a.x"},
		{"cut off in the answer", good[:len(good)-2], ""},
		{"nothing", nil, ""},
	} {
		var n names.Names
		n.Hear(here, tt.message, 0)
		if got := n.Asked(here, netip.MustParseAddr("10.0.0.5"), 0); got != tt.want {
			t.Errorf("%s: got the name %q, want %q", tt.about, got, tt.want)
		}
	}
}

func TestANameIsTheLatestBeforeTheConnection(t *testing.T) {
	var n names.Names
	for i := range 10 {
		name := fmt.Sprintf("n%d.x.", i)
		n.Hear(here, message(t, name, 0, line{name, "A", "10.0.0.5"}), time.Duration(i)*time.Second)
	}
	for _, tt := range []struct {
		at   time.Duration
		want string
	}{
		{9500 * time.Millisecond, "n9.x"},
		{5 * time.Second, "n5.x"},
		{0, ""}, // forgotten: of one address the last few are kept
		{9*time.Second + 10*time.Minute, "n9.x"},
		{10*time.Second + 10*time.Minute, ""},
	} {
		if got := n.Asked(here, netip.MustParseAddr("10.0.0.5"), tt.at); got != tt.want {
			t.Errorf("at %v the name is %q, want %q", tt.at, got, tt.want)
		}
	}
}

func TestANameIsKeptWhereItWasAskedFor(t *testing.T) {
	var n names.Names
	n.Hear(here, message(t, "a.x.", 60, line{"a.x.", "A", "10.0.0.5"}), 0)
	for _, p := range []names.Place{{NetNS: 9, Cgroup: 2, Workload: 3}, {NetNS: 1, Cgroup: 9, Workload: 3}, {NetNS: 1, Cgroup: 2, Workload: 9}} {
		if got := n.Asked(p, netip.MustParseAddr("10.0.0.5"), 0); got != "" {
			t.Errorf("%+v is said to have asked for %s", p, got)
		}
	}
}

func TestAWorkloadDisplacesOnlyItsOwnNames(t *testing.T) {
	var n names.Names
	n.Hear(here, message(t, "quiet.x.", 60, line{"quiet.x.", "A", "10.0.0.5"}), 0)
	loud := names.Place{Workload: 99}
	for i := range 5000 {
		loud.Cgroup = uint64(i)
		name := fmt.Sprintf("n%d.x.", i)
		n.Hear(loud, message(t, name, 60, line{name, "A", fmt.Sprintf("10.1.%d.%d", i/250, i%250)}), 0)
	}
	if got := n.Asked(here, netip.MustParseAddr("10.0.0.5"), 0); got != "quiet.x" {
		t.Errorf("the quiet workload's name is %q, want it kept", got)
	}
	known := 0
	for i := range 5000 {
		loud.Cgroup = uint64(i)
		if n.Asked(loud, netip.MustParseAddr(fmt.Sprintf("10.1.%d.%d", i/250, i%250)), 0) != "" {
			known++
		}
	}
	if known == 0 || known > 1024 {
		t.Errorf("%d names of the loud workload are kept, want some, at most 1024", known)
	}
	n.Tidy(0, func(workload uint64) bool { return workload == 99 })
	if got := n.Asked(here, netip.MustParseAddr("10.0.0.5"), 0); got != "" {
		t.Errorf("a workload that is gone is said to have asked for %s", got)
	}
}

func FuzzHear(f *testing.F) {
	f.Add(message(f, "a.x.", 60, line{"a.x.", "CNAME", "b.x."}, line{"b.x.", "A", "10.0.0.5"}))
	f.Add(message(f, "a.x.", 1<<31, line{"a.x.", "AAAA", "fd00::5"}))
	f.Add([]byte("\x00\x00\x80\x00\x00\x01\x00\x01\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var n names.Names
		n.Hear(here, text, time.Second)
		if name := n.Asked(here, netip.MustParseAddr("10.0.0.5"), time.Second); name != "" && !names.IsHost(name) {
			t.Errorf("%q is no name of a host", name)
		}
		n.Tidy(1<<62, func(uint64) bool { return true })
		if name := n.Asked(here, netip.MustParseAddr("10.0.0.5"), time.Second); name != "" {
			t.Errorf("%q is left when its time is over", name)
		}
	})
}
