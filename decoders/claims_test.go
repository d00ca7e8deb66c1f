package decoders_test

import (
	"strings"
	"testing"

	"agentd.dev/decoders"
)

func TestATraceparentIsFoundInAnyText(t *testing.T) {
	const id, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for _, tt := range []struct{ text, want string }{
		{parent, id},
		{"agent " + parent + " x", id},
		{"traceparent=" + parent, id},
		{strings.ToUpper(parent), ""},
		{"00-" + strings.Repeat("0", 32) + "-00f067aa0ba902b7-01", ""},
		{"ff" + parent[2:], ""},
		{"0" + parent, ""},
		{parent[1:], ""},
		{"", ""},
	} {
		if got, ok := decoders.TraceOf(tt.text); got != tt.want || ok != (tt.want != "") {
			t.Errorf("%q: got %q, %v, want %q", tt.text, got, ok, tt.want)
		}
	}
}

func TestClaimsAreFewShortAndPlain(t *testing.T) {
	var claims []decoders.Claim
	for _, c := range [][2]string{
		{"task", "T-17"},
		{"task", "again"},
		{"", "x"},
		{"a b", "x"},
		{"empty", ""},
		{"long", strings.Repeat("x", 257)},
		{"bell", "\a"},
		{"latin", "\xfc"},
		{"traceparent", "nonsense"},
		{"hidden", "a\u202eb"},
	} {
		claims = decoders.AddClaim(claims, c[0], c[1])
	}
	if len(claims) != 1 || claims[0] != (decoders.Claim{Key: "task", Value: "T-17"}) {
		t.Errorf("got %q, want the first task alone", claims)
	}
	for i := range 100 {
		claims = decoders.AddClaim(claims, "k"+strings.Repeat("x", i%50), "v")
	}
	if len(claims) > 16 {
		t.Errorf("%d claims are kept", len(claims))
	}
}
