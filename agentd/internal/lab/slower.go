package lab

import (
	"os"
	"strconv"
	"testing"
)

// Slower returns how many times slower this machine says it is than a real one,
// in AGENTD_LAB_SLOWER; 1 if it does not say. A test of how long something may
// take multiplies by it, and one of how many there are divides. What a test
// asserts stays the same.
func Slower(t testing.TB) int {
	t.Helper()
	text := os.Getenv("AGENTD_LAB_SLOWER")
	if text == "" {
		return 1
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("AGENTD_LAB_SLOWER is %q, want a number from 1 on", text)
	}
	return n
}
