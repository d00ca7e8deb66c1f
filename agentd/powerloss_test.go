package agentd_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/internal/faults"
	"agentd.dev/agentd/internal/lab"
	"agentd.dev/recorder"
)

// A moment is a step of agentd's, when it was done; a sync also when it began.
type moment struct {
	step  *faults.Step
	began bool
	names []string // that there were in a folder then
}

// A diskState is what of the log a disk may hold: what was synced, and what may
// or may not have come to it.
type diskState struct {
	files  map[string]*diskFile
	listed map[*faults.Step][]string // names there are when a folder's sync began
	sent   []string                  // statements that went to the server
}

type diskFile struct {
	synced  []byte
	written []*faults.Step       // since
	until   map[*faults.Step]int // of written, when a sync began
	named   bool                 // its name is on the disk
}

// after does what a moment did.
func (d *diskState) after(m moment, folder string) {
	s := m.step
	if s.Kind == faults.Send {
		if statement := tagged.FindString(string(s.Data)); statement != "" {
			d.sent = append(d.sent, statement)
		}
		return
	}
	if s.Path == folder && m.began {
		d.listed[s] = m.names
	} else if s.Path == folder {
		for _, name := range d.listed[s] {
			d.file(name).named = true
		}
	}
	if filepath.Dir(s.Path) != folder {
		return
	}
	f := d.file(filepath.Base(s.Path))
	switch {
	case s.Kind != faults.Sync:
		f.written = append(f.written, s)
	case m.began:
		f.until[s] = len(f.written)
	default:
		n := f.until[s]
		f.synced = applied(f.synced, f.written[:n])
		f.written = slices.Clone(f.written[n:])
		for other := range f.until {
			f.until[other] = max(0, f.until[other]-n)
		}
	}
}

func (d *diskState) file(name string) *diskFile {
	if d.files[name] == nil {
		d.files[name] = &diskFile{until: map[*faults.Step]int{}}
	}
	return d.files[name]
}

// applied is what a file holds after writes.
func applied(content []byte, steps []*faults.Step) []byte {
	content = slices.Clone(content)
	for _, s := range steps {
		switch end := int(s.Offset) + len(s.Data); {
		case s.Kind == faults.Truncate && len(content) > int(s.Offset):
			content = content[:s.Offset]
		case s.Kind == faults.Write:
			content = append(content, make([]byte, max(0, end-len(content)))...)
			copy(content[s.Offset:], s.Data)
		}
	}
	return content
}

// lost are ways in which a disk without power has what was not synced.
var lost = []struct {
	name string
	keep func(written []*faults.Step) []*faults.Step
}{
	{"all of it", func([]*faults.Step) []*faults.Step { return nil }},
	{nothing, func(w []*faults.Step) []*faults.Step { return w }},
	{"the end of the last write", func(w []*faults.Step) []*faults.Step { return torn(w, len(w)-1) }},
	{"some of it, in any order", func(w []*faults.Step) (kept []*faults.Step) {
		for i := range w {
			if rand.IntN(2) == 0 {
				kept = append(kept, torn(w[i:i+1], rand.IntN(3))...)
			}
		}
		return kept
	}},
}

const nothing = "nothing of it"

// torn cuts the write at i short, if there is one.
func torn(steps []*faults.Step, i int) []*faults.Step {
	if i < 0 || i >= len(steps) || len(steps[i].Data) == 0 {
		return steps
	}
	steps = slices.Clone(steps)
	cut := *steps[i]
	cut.Data = cut.Data[:rand.IntN(len(cut.Data))]
	steps[i] = &cut
	return steps
}

// Whatever of what was not synced the disk has when the power fails, and
// whenever that is: the log is recovered, verifies, and holds every statement
// that went to a durable target.
func TestALossOfPowerLosesNoStatementThatADurableTargetGot(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	agentd := lab.NewAgentd(t, lab.Setup{
		Policy: lawful, Target: server, Keys: "durability: disk", Config: "record: {checkpoint: 20ms, segment: 64KiB}\n",
	})
	var moments []moment
	trap := faults.Set(t, agentd, func(s *faults.Step) faults.Act {
		if s.Kind == faults.Sync {
			m := moment{step: s, began: true}
			for _, e := range inFolder(s.Path) {
				m.names = append(m.names, e.Name())
			}
			moments = append(moments, m)
		}
		return faults.Act{}
	})
	trap.Done = func(s *faults.Step) { moments = append(moments, moment{step: s}) }
	if err := agentd.Start(t); err != nil {
		t.Fatal(err)
	}
	load := agentd.Captured(t, loadOf(t, server, "crash1", 12, 4))
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	agentd.Process.Stop(unix.SIGTERM)
	<-agentd.Process.Done()
	trap.Wait()

	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=64m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(disk, unix.MNT_DETACH) })
	key, err := os.ReadFile(strings.TrimSuffix(agentd.Key, ".pub"))
	if err != nil {
		t.Fatal(err)
	}
	state := diskState{files: map[string]*diskFile{}, listed: map[*faults.Step][]string{}}
	tried := 0
	for i, m := range moments {
		state.after(m, agentd.Log)
		if rand.IntN(max(1, len(moments)/80)) > 0 && i < len(moments)-1 {
			continue
		}
		for _, way := range lost {
			tried++
			dir := filepath.Join(disk, "state")
			state.fail(t, filepath.Join(dir, "log"), way.keep, way.name == nothing)
			if err := recovered(dir, key, agentd.Key, state.sent); err != nil {
				t.Fatalf("after step %d of %d, %d statements sent, lost is %s: %v", i, len(moments), len(state.sent), way.name, err)
			}
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d losses of power in %d steps, with %d statements sent and %d files", tried, len(moments), len(state.sent), len(state.files))
	if len(state.sent) < 240 || len(state.files) < 3 {
		t.Errorf("%d statements sent, %d files: too tame to mean anything", len(state.sent), len(state.files))
	}
}

// inFolder are the entries of a folder, none of a file.
func inFolder(path string) []os.DirEntry {
	all, err := os.ReadDir(path)
	if err != nil {
		return nil
	}
	return all
}

// fail writes what the disk has into dir. A file whose name was not synced may be
// there if something of it is.
func (d *diskState) fail(t *testing.T, dir string, keep func([]*faults.Step) []*faults.Step, all bool) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, f := range d.files {
		kept := keep(f.written)
		if !f.named && len(kept) == 0 && !all {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), applied(f.synced, kept), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// recovered recovers the log in dir and returns what is wrong with it then.
func recovered(dir string, key []byte, public string, sent []string) error {
	file := filepath.Join(dir, "node.key")
	if err := os.WriteFile(file, key, 0o600); err != nil {
		return err
	}
	verifier, err := os.ReadFile(public)
	if err != nil {
		return err
	}
	if err := os.WriteFile(file+".pub", verifier, 0o600); err != nil {
		return err
	}
	log := filepath.Join(dir, "log")
	r, err := recorder.Open(recorder.Options{Dir: log, KeyFile: file, Node: "agentd/lab", Reserve: 1})
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	if err := r.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	report, err := recorder.Verify(log, string(verifier), recorder.VerifyOptions{})
	if err != nil || !report.OK || report.Unsigned != 0 {
		return fmt.Errorf("verify: %+v, %v, %w", report, report.Bad, err)
	}
	segments, err := filepath.Glob(filepath.Join(log, "*.seg"))
	if err != nil {
		return err
	}
	held := map[string]bool{}
	for _, path := range segments {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, statement := range inRecords.FindAllString(string(text), -1) {
			held[strings.Trim(statement, `"`)] = true
		}
	}
	for _, statement := range sent {
		if !held[statement] {
			return fmt.Errorf("%s reached the server, and its record is lost", statement)
		}
	}
	return nil
}

// inRecords matches what tagged does where a record has it as its text.
var inRecords = regexp.MustCompile(`"` + tagged.String() + `"`)
