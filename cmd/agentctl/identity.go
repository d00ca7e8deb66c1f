package main

import (
	"errors"
	"fmt"
	"os"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"agentd.dev/recorder"
)

// identityFlag gives all commands the flag --identity. It is one of the root, so
// that whoever has set it once for the day need not know which commands read.
func identityFlag(a *app, root *cobra.Command) {
	root.PersistentFlags().StringVar(&a.identity, "identity", os.Getenv("AGENTD_IDENTITY"),
		"file with an age identity that reads an encrypted log (env AGENTD_IDENTITY)")
	root.MarkPersistentFlagFilename("identity")
}

// identities reads the file of --identity; none without the flag.
func (a *app) identities() ([]age.Identity, error) {
	if a.identity == "" {
		return nil, nil
	}
	f, err := os.Open(a.identity)
	if err != nil {
		return nil, fmt.Errorf("read the identity: %w", err)
	}
	defer f.Close()
	all, err := recorder.ParseIdentities(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.identity, err)
	}
	return all, nil
}

// hidden says that not all of a log could be read.
func (a *app) hidden(h recorder.Hidden) {
	if h.Encrypted > 0 {
		with := "--identity FILE reads them"
		if a.identity != "" {
			with = "they are encrypted to others than " + a.identity
		}
		a.note("%s encrypted: %s", are(h.Encrypted), with)
	}
	if h.Emptied > 0 {
		a.note("%s deleted by rules of retention: agentctl audit verify says which", are(h.Emptied))
	}
}

// hiddenIn is hidden for a folder that was read.
func (a *app) hiddenIn(folder string) error {
	ids, err := a.identities()
	if err != nil {
		return err
	}
	log, err := recorder.OpenFolder(folder, ids...)
	if err != nil {
		return err
	}
	h, err := log.Hidden()
	if err == nil {
		a.hidden(h)
	}
	return err
}

func are(n int) string {
	if n == 1 {
		return "1 segment is"
	}
	return fmt.Sprintf("%d segments are", n)
}

// mayIndex returns the identities to index a log with. An index of an encrypted log
// would be a copy of it that is not: with an identity it lies where --index says,
// without one it is of what can be read now, in a folder to be removed.
func (a *app) mayIndex(folder string) (ids []age.Identity, temporary string, err error) {
	if ids, err = a.identities(); err != nil {
		return nil, "", err
	}
	log, err := recorder.OpenFolder(folder)
	if err != nil {
		return nil, "", err
	}
	encrypted, err := log.Encrypted()
	switch {
	case err != nil || !encrypted || a.index != "":
		return ids, "", err
	case len(ids) > 0:
		return nil, "", errors.New("the log is encrypted, and its index is not: say with --index FILE where it may lie")
	}
	temporary, err = os.MkdirTemp("", "agentctl-index-")
	return nil, temporary, err
}
