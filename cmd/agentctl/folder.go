package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"agentd.dev/agentd/control"
)

// Where agentd keeps its log and the key that verifies it, unless configured.
const (
	defaultFolder = "/var/lib/agentd/log"
	defaultKey    = "/var/lib/agentd/keys/node.key.pub"
)

// folderFlag gives a command, and those below it, the flag --dir.
func folderFlag(a *app, cmd *cobra.Command) {
	cmd.PersistentFlags().StringVar(&a.dir, "dir", "", "read this log folder and do not ask agentd")
	cmd.MarkPersistentFlagDirname("dir")
}

// askOrRead answers a question from agentd, or from the log folder if one was
// or an identity was given, or if agentd is not there to be asked.
func askOrRead[T any](ctx context.Context, a *app, ask func(context.Context, *control.Client) (T, error), read func(folder string, ids []age.Identity) (T, error)) (T, error) {
	var none T
	ids, err := a.identities()
	if err != nil {
		return none, err
	}
	folder := a.dir
	switch {
	case folder != "":
	case len(ids) > 0: // agentd has none, and is not to be given one
		if folder, _, err = a.whereLog(ctx); err != nil {
			return none, err
		}
	default:
		client := a.client()
		defer client.Close()
		answer, err := ask(ctx, client)
		if !errors.Is(err, control.ErrNoDaemon) {
			return answer, err
		}
		folder = defaultFolder
		a.note("%v: reading %s instead", err, folder)
	}
	if err := checkFolder(folder); err != nil {
		return none, err
	}
	return read(folder, ids)
}

// checkFolder makes sure that a folder holds a log at all, so that a mistyped
// one is not taken for an empty one.
func checkFolder(folder string) error {
	entries, err := os.ReadDir(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no folder %s: give the log folder with --dir", folder)
	case err != nil:
		return fmt.Errorf("open the log folder: %w", err)
	}
	for _, e := range entries {
		if e.Name() == "checkpoints" || filepath.Ext(e.Name()) == ".seg" {
			return nil
		}
	}
	return fmt.Errorf("%s holds no log: give the log folder with --dir", folder)
}

// whereLog returns the log folder and the file with its public key: as given,
// else as agentd says, else where they are by default.
func (a *app) whereLog(ctx context.Context) (folder, key string, err error) {
	if a.dir != "" && a.key != "" {
		return a.dir, a.key, nil
	}
	log := control.Log{Folder: defaultFolder, Key: defaultKey}
	client := a.client()
	defer client.Close()
	switch told, err := client.Log(ctx); {
	case err == nil:
		log = told
	case !errors.Is(err, control.ErrNoDaemon):
		return "", "", err
	case a.dir == "":
		a.note("%v: reading %s instead", err, defaultFolder)
	}
	if a.dir != "" {
		log.Folder = a.dir
	}
	if a.key != "" {
		log.Key = a.key
	}
	return log.Folder, log.Key, nil
}

// An adviceError says what to do about an error.
type adviceError struct {
	error
	advice string
}

func (e adviceError) Error() string { return e.error.Error() + ": " + e.advice }
func (e adviceError) Unwrap() error { return e.error }
