package capture

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf/link"
)

// DetachPinned removes the kernel side that is pinned in a folder, and the
// folder, whether an agentd still uses it or not: nothing is captured, refused
// or held from then on. It reports whether there was something.
func DetachPinned(folder string) (bool, error) {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var errs []error
	for _, e := range entries {
		if rank(e) == 0 { // else a process that has it open keeps it attached
			errs = append(errs, detachLink(filepath.Join(folder, e.Name())))
		}
	}
	errs = append(errs, unpin(folder), os.Remove(folder))
	return true, errors.Join(errs...)
}

func detachLink(pin string) error {
	l, err := link.LoadPinnedLink(pin, nil)
	if err != nil {
		return fmt.Errorf("open pinned link %s: %w", pin, err)
	}
	return errors.Join(l.Detach(), l.Close())
}
