package agentd

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// keepCores keeps what agentd has in its memory, credentials among it, out of
// files: it leaves no core when it crashes, unless the configuration wants one,
// and nobody but root looks into it. What it starts is not affected by the
// second.
func keepCores(config *Config) error {
	if config.CoreDumps {
		return nil
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("keep from dumping core: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("keep from dumping core: %w", err)
	}
	return nil
}
