package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/spf13/cobra"

	"agentd.dev/recorder/index"
)

func newIndex(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "index",
		Short: "Rebuild the index that searches go by",
		Long: `The index is a file beside the log folder, by which statements are found without
reading all of the log. It is made and brought up to date by those who search,
proves nothing, and can be deleted at any time.`,
		Example: "  agentctl index rebuild",
	}
	folderFlag(a, cmd)
	indexFlag(a, cmd)
	cmd.AddCommand(&cobra.Command{
		Use:   "rebuild",
		Short: "Make the index anew from the log",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			folder, file, err := a.whereIndex(cmd.Context())
			if err != nil {
				return err
			}
			ids, temporary, err := a.mayIndex(folder)
			if err != nil {
				return err
			}
			if temporary != "" {
				return errors.Join(errors.New("of an encrypted log no index is kept on this node: where its identity is, agentctl index rebuild --identity FILE --index FILE makes one"), os.RemoveAll(temporary))
			}
			bar := a.newProgress("indexing")
			x, err := index.Rebuild(cmd.Context(), folder, file, bar.to, ids...)
			bar.clear()
			if x == nil {
				return err
			}
			x.Close()
			a.note("%s is up to date%s", file, bar.speed())
			return err
		},
	})
	return group(cmd)
}

func indexFlag(a *app, cmd *cobra.Command) {
	cmd.PersistentFlags().StringVar(&a.index, "index", "", "file of the index (default: beside the log folder)")
}

// indexMemory is how much of the heap indexing may take before it is collected
// more often; SQLite has some 40 MB beside it.
const indexMemory = 100 << 20

// whereIndex returns the log folder, and where its index is.
func (a *app) whereIndex(ctx context.Context) (folder, file string, err error) {
	debug.SetMemoryLimit(indexMemory)
	if folder = a.dir; folder == "" {
		if folder, _, err = a.whereLog(ctx); err != nil {
			return "", "", err
		}
	}
	if err := checkFolder(folder); err != nil {
		return "", "", err
	}
	if folder, err = filepath.Abs(folder); err != nil {
		return "", "", fmt.Errorf("where is %s: %w", folder, err)
	}
	if file = a.index; file == "" {
		file = folder + ".index"
	}
	file, err = filepath.Abs(file)
	return folder, file, err
}
