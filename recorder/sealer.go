package recorder

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
)

const (
	// sealingSuffix is that of a file that has not taken its segment's name yet.
	sealingSuffix = ".sealing"
	// keeping is how often rules of retention are looked at, and what could not
	// be sealed is tried again.
	keeping = time.Minute
)

// A keeper writes segments that have ended anew and empties those whose time is
// over. It fails open: what cannot be sealed stays as it is, and is said.
type keeper struct {
	r       *Recorder
	deflate *zstd.Encoder
	bad     map[int64]bool // segments that are not what the log says: left for Verify
	forms   map[int64]form // of segments that need nothing
	ages    map[int64]*content
	step    func(string) // told before each step, for tests of crashes
}

// SealStats say how segments are kept. Plain is what waits to be sealed, counting
// what cannot be.
type SealStats struct {
	Sealed  int64 // segments sealed since Open
	Emptied int64 // and emptied
	Plain   int64 // segments that have ended and are not sealed yet
	Held    int64 // segments that a rule would empty, were they not held
	Problem string
}

func newKeeper(r *Recorder) *keeper {
	k := &keeper{r: r, bad: map[int64]bool{}, forms: map[int64]form{}, ages: map[int64]*content{}, step: r.opts.step}
	if k.step == nil {
		k.step = func(string) {}
	}
	return k
}

// keep runs until the recorder halts.
func (r *Recorder) keep(stop <-chan struct{}) {
	k := newKeeper(r)
	tick := time.NewTicker(keeping)
	defer tick.Stop()
	for {
		err := k.round(stop)
		if err != nil && !errors.Is(err, errStopped) && !errors.Is(err, ErrClosed) {
			r.sealed.problem(err, len(r.opts.Encrypt) > 0, r.opts.Log)
		}
		if err == nil {
			r.sealed.problem(nil, false, r.opts.Log)
		}
		select {
		case <-stop:
			return
		case <-r.ended:
		case <-tick.C:
		}
	}
}

// round seals all that is to be sealed, and empties what is to be emptied.
func (k *keeper) round(stop <-chan struct{}) error {
	stopped := func() bool {
		select {
		case <-stop:
			return true
		default:
			return false
		}
	}
	if err := k.clean(); err != nil {
		return err
	}
	numbers, err := k.finished()
	if err != nil {
		return err
	}
	var first error
	waiting := int64(0)
	for _, n := range numbers {
		todo, err := k.todo(n)
		if err == nil && todo != 0 {
			if err = k.rewrite(n, todo, nil, stopped); err == nil {
				k.forms[n] = todo
			}
		}
		if errors.Is(err, errStopped) || errors.Is(err, ErrClosed) {
			return err
		}
		if err != nil {
			waiting++
			k.bad[n] = k.bad[n] || errors.Is(err, errUnsealed)
			first = errors.Join(first, fmt.Errorf("seal %s: %w", segmentName(n), err))
		}
	}
	k.r.sealed.plain.Store(waiting)
	return errors.Join(first, k.retain(numbers, stopped))
}

// clean removes what an earlier run did not finish.
func (k *keeper) clean() error {
	entries, err := os.ReadDir(k.r.opts.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), sealingSuffix) {
			if err := os.Remove(filepath.Join(k.r.opts.Dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// finished are the segments that have ended and are on the disk, with what
// follows them: those that a checkpoint covers wholly.
func (k *keeper) finished() ([]int64, error) {
	k.r.mu.Lock()
	current := int64(0)
	if k.r.seg != nil {
		current = k.r.seg.number
	}
	if len(k.r.retired) > 0 {
		current = k.r.retired[0].number
	}
	k.r.mu.Unlock()
	numbers, err := segmentNumbers(k.r.opts.Dir)
	if err != nil {
		return nil, err
	}
	for i, n := range numbers {
		if n >= current {
			return numbers[:i], nil
		}
	}
	return numbers, nil
}

// todo returns the form that a segment is to get, 0 if it has it.
func (k *keeper) todo(number int64) (form, error) {
	if k.bad[number] {
		return 0, errUnsealed
	}
	if k.forms[number] != 0 {
		return 0, nil
	}
	o := opener{dir: k.r.opts.Dir}
	is, err := o.formOf(number)
	switch {
	case err != nil:
		return 0, err
	case is == 0:
		return 0, errUnsealed
	case len(k.r.opts.Encrypt) > 0 && is < encryptedForm:
		return encryptedForm, nil
	case is == plainForm:
		return sealedForm, nil
	}
	k.forms[number] = is
	return 0, nil
}

// rewrite gives a segment another form. It is written beside, read again and
// compared, said in the log where that alone binds what is written (encrypted and
// emptied), and takes the segment's name: at every moment the one or the other is
// there, whole.
func (k *keeper) rewrite(number int64, to form, by *Rule, stopped func() bool) error {
	o := opener{dir: k.r.opts.Dir}
	next, err := o.open(number + 1)
	if err != nil {
		return err
	}
	next.close()
	src, err := o.open(number)
	if unreadable(err) {
		return errUnsealed
	}
	if err != nil {
		return err
	}
	defer src.close()
	if err := k.r.roomToSeal(src.size); by == nil && err != nil {
		return err
	}
	if k.deflate == nil {
		if k.deflate, err = newEncoder(); err != nil {
			return err
		}
	}
	path := filepath.Join(k.r.opts.Dir, segmentName(number))
	f, err := os.OpenFile(path+sealingSuffix, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	s := sealing{deflate: k.deflate, form: to}
	if by != nil {
		s.foot.Rule, s.foot.At = by.Name, time.Now().UTC()
	}
	k.step("write")
	err = s.rewrite(f, src, &next.before, k.r.opts.Encrypt, stopped)
	if err == nil {
		err = s.check(f)
	}
	if err == nil {
		k.step("say")
		err = k.say(&s, number)
	}
	if err != nil {
		return errors.Join(err, os.Remove(path+sealingSuffix))
	}
	k.step("rename")
	if err := os.Rename(path+sealingSuffix, path); err != nil {
		return errors.Join(err, os.Remove(path+sealingSuffix))
	}
	k.step("sync")
	if err := syncFolder(k.r.opts.Dir); err != nil {
		return err
	}
	if to != sealedForm { // the index beside the folder may hold what was in it: it is made anew when it is asked for
		os.Remove(filepath.Clean(k.r.opts.Dir) + ".index")
	}
	k.step("done")
	if to == emptiedForm {
		k.r.sealed.emptied.Add(1)
	} else {
		k.r.sealed.sealed.Add(1)
	}
	return nil
}

// say records what a segment's file will be, and has that signed, before it is:
// without the key, nothing else tells that the file is that which agentd wrote.
func (k *keeper) say(s *sealing, number int64) error {
	attrs := []any{"segment", segmentName(number), "sha256", hex.EncodeToString(s.hash), "records", s.foot.Records}
	kind, text := noteSealed, "segment encrypted"
	switch s.form {
	case sealedForm:
		return nil // its records are there, and speak for themselves
	case emptiedForm:
		kind, text = noteEmptied, "contents of segment deleted"
		attrs = append(attrs, "rule", s.foot.Rule, "first", s.foot.First.UTC().Format(time.RFC3339), "last", s.foot.Last.UTC().Format(time.RFC3339))
	case encryptedForm:
		attrs = append(attrs, "recipients", recipients(k.r.opts.Encrypt))
	}
	if err := k.r.Note(kind, text, attrs...); err != nil {
		return err
	}
	return k.r.checkpoint()
}

// recipients names those that say who they are.
func recipients(all []age.Recipient) string {
	var names []string
	for _, r := range all {
		if s, ok := r.(fmt.Stringer); ok {
			names = append(names, s.String())
		}
	}
	return strings.Join(names, " ")
}
