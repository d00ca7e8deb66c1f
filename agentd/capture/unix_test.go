package capture_test

import (
	"bytes"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"agentd.dev/agentd/capture"
)

// connectUnix connects to a path as C programs may: its length counts the
// zero at its end or does not.
const connectUnix = `
import ctypes, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
path, zero = sys.argv[1].encode(), int(sys.argv[2])
address = (socket.AF_UNIX).to_bytes(2, sys.byteorder) + path + bytes(zero)
libc = ctypes.CDLL(None, use_errno=True)
if libc.connect(s.fileno(), address, len(address)):
    sys.exit("errno %d" % ctypes.get_errno())
`

func TestTheSocketsOfContainerRuntimesAreRefused(t *testing.T) {
	f := start(t, capture.Options{})
	refused := "errno 1"
	if slices.ContainsFunc(f.Lacks(), func(what string) bool { return strings.Contains(what, "container runtimes") }) {
		refused = "" // before Linux 6.7: said, and not done
	}
	captured, free := f.workload(t, "agent"), f.root.Child(t, "free")
	dir := t.TempDir()
	for _, tt := range []struct {
		name string
		zero string
		want string
	}{
		{"docker.sock", "1", refused},
		{"docker.sock", "0", refused},
		{"containerd.sock", "20", refused},
		{".s.PGSQL.5432", "1", ""},
		{"xdocker.sock", "1", ""},
		{"docker.sockx", "1", ""},
	} {
		path := filepath.Join(dir, tt.name)
		if l, err := net.Listen("unix", path); err == nil {
			t.Cleanup(func() { l.Close() })
		}
		for _, where := range []struct {
			cmd  *exec.Cmd
			want string
		}{
			{captured.Put(exec.Command("python3", "-c", connectUnix, path, tt.zero)), tt.want},
			{free.Put(exec.Command("python3", "-c", connectUnix, path, tt.zero)), ""},
		} {
			var said bytes.Buffer
			where.cmd.Stderr = &said
			_ = where.cmd.Run() // what it said tells
			if got := strings.TrimSpace(said.String()); got != where.want {
				t.Errorf("%s with %s zeros: %q, want %q", tt.name, tt.zero, got, where.want)
			}
		}
	}
}
