package approvals

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// keepEvery is how often the file is written at most. What has changed since
// and is lost in a crash, the record has.
const keepEvery = time.Second

// A keeper writes what a Desk keeps, soon after it has changed. A nil one does
// nothing.
type keeper struct {
	path string
	log  *slog.Logger
	read func() ([]byte, error)

	writing sync.Mutex // held while the file is written; guards paused
	paused  bool
	dirty   chan struct{} // holds one if there is something to write
	stop    chan struct{}
	once    sync.Once
	done    sync.WaitGroup
}

// keep starts a keeper of what read returns, to be closed.
func keep(path string, log *slog.Logger, read func() ([]byte, error)) *keeper {
	k := &keeper{path: path, log: log, read: read, dirty: make(chan struct{}, 1), stop: make(chan struct{})}
	k.done.Go(k.run)
	return k
}

func (k *keeper) run() {
	for {
		select {
		case <-k.dirty:
		case <-k.stop:
			return
		}
		if err := k.now(); err != nil {
			k.log.Error("keep the approvals for the next agentd", "file", k.path, "error", err)
		}
		select {
		case <-time.After(keepEvery):
		case <-k.stop:
			return
		}
	}
}

// changed has the file written soon.
func (k *keeper) changed() {
	if k == nil {
		return
	}
	select {
	case k.dirty <- struct{}{}:
	default:
	}
}

// pause has nothing written, or goes on.
func (k *keeper) pause(paused bool) {
	if k == nil {
		return
	}
	k.writing.Lock()
	k.paused = paused
	k.writing.Unlock()
	k.changed()
}

// close ends the keeper without writing. It may be called again.
func (k *keeper) close() {
	if k == nil {
		return
	}
	k.pause(true)
	k.once.Do(func() { close(k.stop) })
	k.done.Wait()
}

// now writes the file: the whole of it or nothing, whenever agentd or the node
// goes down.
func (k *keeper) now() (err error) {
	if k == nil {
		return nil
	}
	k.writing.Lock()
	defer k.writing.Unlock()
	if k.paused { // the file may be another agentd's by now
		return nil
	}
	text, err := k.read()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(k.path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), k.path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(k.path))
}

func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
