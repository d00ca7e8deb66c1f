package capture_test

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/capture"
)

// Other tests believe Lacks; here it is held against what every release of
// Linux is known to have.
func TestAKernelLacksWhatIsNewerThanIt(t *testing.T) {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		t.Fatal(err)
	}
	release := unix.ByteSliceToString(uts.Release[:])
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		t.Fatalf("release %q: %v", release, err)
	}
	said := strings.Join(start(t, capture.Options{}).Lacks(), "\n")
	for _, part := range []struct {
		what  string
		minor int // of Linux 6
	}{
		{"strict mode", 6},
		{"the sockets of container runtimes", 7},
	} {
		want := major < 6 || major == 6 && minor < part.minor
		if got := strings.Contains(said, part.what); got != want {
			t.Errorf("on Linux %s %s is lacking: %t, want %t; it says %q", release, part.what, got, want, said)
		}
	}
}
