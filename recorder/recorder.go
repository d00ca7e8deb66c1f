// Package recorder keeps what happened: an append-only log in segment files,
// a Merkle tree over its records, and signed checkpoints of that tree, so that
// someone who trusts nobody on this machine can tell whether a record was
// changed, removed or moved.
//
// The relay writes with a Recorder, a Log per session and a Turn per event
// loop; agentctl reads with OpenFolder and checks with Verify. FORMAT.md says
// what the files hold.
package recorder

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"filippo.io/age"
	"golang.org/x/mod/sumdb/note"

	"agentd.dev/decoders"
	"agentd.dev/policy"
)

// Options say where and how to record. Dir, KeyFile and Node must be set.
type Options struct {
	Dir          string        // segments and checkpoints; made with mode 0700
	KeyFile      string        // signing key, outside Dir; made on first start. KeyFile + ".pub" is the verifier key
	Node         string        // who signs: the origin of checkpoints, as "agentd/node-1"
	SegmentBytes int64         // size at which a segment ends; default 64 MiB
	SegmentAge   time.Duration // at which one ends that has records; default 0, at none
	Interval     time.Duration // between checkpoints while there is something new; default 1 s
	Heartbeat    time.Duration // a record is made when there was none for so long; 0 for never
	Reserve      int64         // bytes to stay free on the filesystem: Begin refuses below; default 64 MiB
	// ReservePercent is the same in hundredths of the filesystem; the larger holds.
	ReservePercent float64
	Log            *slog.Logger // default slog.DiscardHandler
	// Lock is the lock of Dir as HandOver gave it: the log goes on where
	// another process has left it, with that one's sessions. Nil: take it.
	Lock *os.File
	// Protocols are those whose facts are recorded: of their fields, what has a
	// value.
	Protocols []decoders.Protocol
	// Seal has segments compressed once they have ended, and encrypted to the
	// recipients if there are some; Retention says when their contents are deleted.
	Seal      bool
	Encrypt   []age.Recipient
	Retention []Rule

	step func(string) // told before each step of sealing
}

func (o Options) withDefaults() Options {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = 64 << 20
	}
	if o.Interval == 0 {
		o.Interval = time.Second
	}
	if o.Reserve == 0 {
		o.Reserve = 64 << 20
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// ErrClosed is returned by a Recorder that was closed.
var ErrClosed = errors.New("recorder is closed")

// A Recorder writes the log of one folder. Its methods may be called from any
// goroutine.
//
// It fails closed: when a record cannot be written, Begin and Commit fail, and
// go on failing until writing works again and the gap has been recorded.
type Recorder struct {
	opts   Options
	lock   *os.File
	signer note.Signer

	continues bool // the next start is of a log that goes on
	goesOn    bool // it was handed over to us

	mu       sync.Mutex // guards what follows; held over one write, never over fsync
	log      chain
	seg      *segment
	retired  []*segment // full segments that no checkpoint covers yet
	broken   *gap       // nil while recording works
	unsynced bool       // it does not because an fsync failed
	reserve  reserve
	fatal    error // recording cannot work again before a restart
	closed   bool
	frozen   bool // the log is being handed over: whoever commits waits for thawed
	thawed   sync.Cond
	away     Sink // takes the records, nil while this process writes the log
	takers   map[*taker]struct{}

	disk    disk
	signing sync.Mutex // guards notes; held over fsync, taken before mu
	notes   *checkpointFile

	stop    chan struct{}
	rolled  chan struct{} // told after a segment ended
	running sync.WaitGroup
	taking  sync.WaitGroup // calls of Take

	latest atomic.Pointer[[]byte] // the last checkpoint that this process signed

	stats counters

	ended  chan struct{} // told when segments have ended and are on the disk
	sealed sealCounters
	holds  holding
}

// counters are kept apart from mu so that reading them costs the relay nothing.
type counters struct {
	records, bytes, checkpoints, signed, size, failures, lost, syncs, syncTime atomic.Int64
	broken                                                                     atomic.Bool
}

// Stats are counts since Open, except TreeSize and SignedSize.
type Stats struct {
	Records     int64         // records written
	Bytes       int64         // bytes of their frames
	Checkpoints int64         // checkpoints signed
	TreeSize    int64         // records in the whole log
	SignedSize  int64         // records covered by the last checkpoint
	Failures    int64         // writes, syncs and checkpoints that failed
	Lost        int64         // records that could not be written
	Syncs       int64         // fsyncs of segments, each of all that was committed by then
	SyncTime    time.Duration // that they took
	Broken      bool          // recording does not work now
}

// Open starts recording in opts.Dir, which it makes if need be, and recovers
// what an earlier run left: a torn tail is cut off, kept aside and recorded.
//
// It refuses a folder that another process records in, and one that
// contradicts its own last checkpoint: that is evidence, to be moved aside.
func Open(opts Options) (*Recorder, error) {
	opts = opts.withDefaults()
	if err := prepareFolder(opts); err != nil {
		return nil, err
	}
	lock, err := opts.Lock, error(nil)
	if lock == nil {
		if lock, err = lockFolder(opts.Dir); err != nil {
			return nil, err
		}
	}
	r := &Recorder{opts: opts, lock: lock, stop: make(chan struct{}), rolled: make(chan struct{}, 1), ended: make(chan struct{}, 1), takers: map[*taker]struct{}{}}
	r.thawed.L = &r.mu
	r.disk.wanted, r.disk.end = make(chan struct{}, 1), make(chan struct{})
	r.reserve.path, r.reserve.bytes = filepath.Join(opts.Dir, reserveName), min(reserveBytes, opts.Reserve/4)
	r.goesOn = opts.Lock != nil
	r.continues = r.goesOn
	if err := r.start(); err != nil {
		r.closeFiles()
		return nil, err
	}
	r.running.Go(r.run)
	r.disk.running.Go(r.syncGroups)
	r.continues = true // if it is ever opened again
	return r, nil
}

// start recovers the log, records that it was started and signs that.
func (r *Recorder) start() error {
	signed, err := lastSigned(r.opts.Dir)
	if err != nil {
		return err
	}
	if err := settleKey(r.opts.KeyFile, signed); err != nil {
		return fmt.Errorf("end a rotation of the signing key: %w", err)
	}
	signer, verifier, err := openKey(r.opts.KeyFile, r.opts.Node)
	if err != nil {
		return err
	}
	r.signer = signer
	found, err := r.recover(verifier)
	if err != nil {
		return err
	}
	if r.holds.all, err = readHolds(r.opts.Dir); err != nil {
		return err
	}
	r.stats.size.Store(r.log.tree.size)
	r.stats.signed.Store(found.last.Size)

	r.reserve.keep()
	r.seg.reserve(r.opts.SegmentBytes, r.opts.Reserve)

	if n := r.log.tree.size - found.last.Size; n > 0 {
		r.opts.Log.Warn("recording was not closed: records are signed now as they were found", "records", n)
	}
	var t Turn
	startRecord(&t, time.Now(), r.opts, found.last, r.continues)
	for _, torn := range found.torn {
		r.opts.Log.Warn("recording was cut short; the torn tail was kept aside",
			"file", torn.File, "offset", torn.Offset, "bytes", torn.Bytes, "aside", torn.Aside)
		recoveredRecord(&t, time.Now(), torn)
	}
	r.mu.Lock()
	err = r.commit(&t)
	r.mu.Unlock()
	if err != nil {
		return err
	}
	return r.checkpoint()
}

func prepareFolder(opts Options) error {
	if opts.Dir == "" || opts.KeyFile == "" || opts.Node == "" {
		return errors.New("recording needs a folder, a key file and a node name")
	}
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return err
	}
	key, err := filepath.Abs(opts.KeyFile)
	if err != nil {
		return err
	}
	if rel, err := filepath.Rel(dir, key); err == nil && filepath.IsLocal(rel) {
		return fmt.Errorf("key file %s lies in the recording folder %s: keep the key elsewhere, "+
			"so that a copy of the folder does not carry it", opts.KeyFile, opts.Dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.MkdirAll(filepath.Dir(key), 0o700)
}

// Begin opens the log of a session and puts its first record into t. It fails
// when recording does not work or the disk is nearly full: then there must be
// no session.
func (r *Recorder) Begin(t *Turn, s *policy.Session) (*Log, error) {
	if err := r.ready(); err != nil {
		return nil, err
	}
	if err := r.roomToBegin(); err != nil {
		return nil, err
	}
	return newLog(t, s, r.opts.fields(s.Target.Protocol)), nil
}

// fields are those of a protocol.
func (o *Options) fields(protocol string) []decoders.Field {
	for i := range o.Protocols {
		if o.Protocols[i].Name == protocol {
			return o.Protocols[i].Fields
		}
	}
	return nil
}

// ready returns why recording does not work, nil if it does.
func (r *Recorder) ready() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.awaitThaw()
	if r.closed {
		return ErrClosed
	}
	if r.fatal != nil {
		return r.fatal
	}
	if r.broken != nil {
		return r.broken.err
	}
	return nil
}

// Trouble returns why recording does not work, nil if it does. It does not wait
// for a log that is being handed over.
func (r *Recorder) Trouble() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.fatal != nil:
		return r.fatal
	case r.broken != nil:
		return r.broken.err
	}
	return nil
}

// Note records something that belongs to no session, as the daemon's start.
// Attrs are keys and values in turn.
func (r *Recorder) Note(kind, text string, attrs ...any) error {
	var t Turn
	noteRecord(&t, time.Now(), kind, text, attrs)
	return r.Commit(&t)
}

// Stats returns what was done since Open.
func (r *Recorder) Stats() Stats {
	c := &r.stats
	return Stats{
		Records: c.records.Load(), Bytes: c.bytes.Load(),
		Checkpoints: c.checkpoints.Load(), TreeSize: c.size.Load(), SignedSize: c.signed.Load(),
		Failures: c.failures.Load(), Lost: c.lost.Load(), Broken: c.broken.Load(),
		Syncs: c.syncs.Load(), SyncTime: time.Duration(c.syncTime.Load()),
	}
}

// Close records that recording stops and signs the last checkpoint. What is
// committed after it fails with ErrClosed.
func (r *Recorder) Close() error {
	r.mu.Lock()
	r.awaitThaw()
	closed, away := r.closed, r.away
	r.closed, r.away = true, nil
	r.mu.Unlock()
	if closed {
		return ErrClosed
	}
	if away != nil {
		r.taking.Wait()
		err := away.Close()
		r.endDisk()
		return err
	}
	r.dismiss()
	r.taking.Wait()
	r.halt()
	err := r.finish()
	r.endDisk()
	r.closeFiles()
	return err
}

// finish signs twice: once before and once after the last record, because the
// last record has no successor that would name it if it were changed.
func (r *Recorder) finish() error {
	if err := r.checkpoint(); err != nil {
		return err
	}
	var t Turn
	stopRecord(&t, time.Now())
	r.mu.Lock()
	if r.broken != nil && r.fatal == nil && !r.unsynced {
		r.tellGap() // the reserve is for this, too
	}
	err := r.commit(&t)
	r.mu.Unlock()
	if err != nil {
		return err
	}
	return r.checkpoint()
}

func (r *Recorder) closeFiles() {
	r.closeLog()
	r.lock.Close()
}

// closeLog closes the files, all but the lock.
func (r *Recorder) closeLog() {
	r.disk.flushing.Lock()
	defer r.disk.flushing.Unlock()
	for _, s := range append(r.retired, r.seg) {
		if s != nil {
			s.trim() // gives space back; the segment is whole without
			s.f.Close()
		}
	}
	if r.notes != nil {
		r.notes.f.Close()
	}
	r.retired, r.seg, r.notes = nil, nil, nil
}
