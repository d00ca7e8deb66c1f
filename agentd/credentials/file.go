package credentials

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// ReadSecret reads a file that holds nothing but a secret, what it is called in
// errors, as passwords are read: not one that others could have written.
func ReadSecret(what, path string) (string, error) {
	text, _, err := readSecret(what, path)
	return text, err
}

// readSecret reads a file that holds nothing but a secret, and the end of its
// line perhaps. It follows links, as those of a Kubernetes Secret's mount. What
// others could have written is refused; that others could read it, as mounts
// are by default, is a warning: who is in the container may read all of it.
func readSecret(what, path string) (text, warning string, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe must not hold anybody up
	if err != nil {
		return "", "", plain(path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", "", plain(path, err)
	}
	owner := info.Sys().(*syscall.Stat_t).Uid
	switch mode := info.Mode(); {
	case !mode.IsRegular():
		return "", "", fmt.Errorf("%s is not a file", path)
	case mode.Perm()&0o022 != 0:
		return "", "", fmt.Errorf("%s can be written by others (mode %04o): chmod go-w", path, mode.Perm())
	case owner != 0 && int(owner) != os.Geteuid():
		return "", "", fmt.Errorf("%s belongs to uid %d, who could change it: chown it to root", path, owner)
	case mode.Perm()&0o004 != 0:
		warning = fmt.Sprintf("%s can be read by others (mode %04o)", path, mode.Perm())
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+3))
	if err != nil {
		return "", "", plain(path, err)
	}
	text = line(b)
	if err := check(what, text); err != nil {
		return "", "", fmt.Errorf("%s: %w", path, err)
	}
	return text, warning, nil
}

// line returns b without the end of its line.
func line(b []byte) string { return strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r") }

// plain says what is wrong with a file.
func plain(path string, err error) error {
	var why *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: no such file", path)
	case errors.As(err, &why):
		return fmt.Errorf("%s: %w", path, why.Err)
	}
	return fmt.Errorf("%s: %w", path, err)
}
