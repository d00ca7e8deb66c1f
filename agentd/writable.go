package agentd

import (
	"fmt"
	"os"
)

// onlyOwners checks that nobody but those who own files, and their group, can
// write them: whoever can change the configuration or a policy decides what is
// let through. It fails closed; links count as what they lead to. A file that
// cannot be looked at is an error when it is read.
func onlyOwners(files []string) error {
	for _, name := range files {
		info, err := os.Stat(name)
		if err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o002 != 0 {
			return fmt.Errorf("%s can be written by others (mode %#o), who could change what is let through: see what is in it, then chmod o-w it", name, info.Mode().Perm())
		}
	}
	return nil
}
