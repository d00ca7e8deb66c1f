package recorder

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const checkpointsName = "checkpoints"

// A checkpoint is the claim that a log's first Size records have this root. As
// a signed note it is what c2sp.org/tlog-checkpoint describes.
type checkpoint struct {
	Origin string
	Size   int64
	Root   tlog.Hash
	Next   string // the verifier key that the log is handed on to, "" if it is not
}

// sign returns the checkpoint as a signed note.
func (c checkpoint) sign(signers ...note.Signer) ([]byte, error) {
	text := fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, c.Root)
	if c.Next != "" {
		text += keyLine + c.Next + "\n"
	}
	return note.Sign(&note.Note{Text: text}, signers...)
}

var errOtherKey = errors.New("signed with another key")

// openCheckpoint checks a note's signature and reads it.
func openCheckpoint(signed []byte, verifier note.Verifier) (checkpoint, error) {
	n, err := note.Open(signed, note.VerifierList(verifier))
	var unverified *note.UnverifiedNoteError
	if errors.As(err, &unverified) {
		return checkpoint{}, fmt.Errorf("%w than %s+%08x", errOtherKey, verifier.Name(), verifier.KeyHash())
	}
	if err != nil {
		return checkpoint{}, err
	}
	c, err := parseCheckpoint(n.Text)
	if err == nil && c.Origin != verifier.Name() {
		err = fmt.Errorf("signed by %s for %s", verifier.Name(), c.Origin)
	}
	return c, err
}

// parseCheckpoint reads a checkpoint's text. Of lines after the third, which the
// format allows, one may name the next key; others mean nothing here.
func parseCheckpoint(text string) (checkpoint, error) {
	lines := strings.SplitN(text, "\n", 4)
	if len(lines) < 4 || lines[0] == "" {
		return checkpoint{}, errors.New("not a checkpoint: fewer than three lines")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return checkpoint{}, fmt.Errorf("not a checkpoint: size %q", lines[1])
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(raw) != tlog.HashSize {
		return checkpoint{}, fmt.Errorf("not a checkpoint: root %q", lines[2])
	}
	c := checkpoint{Origin: lines[0], Size: size, Root: tlog.Hash(raw)}
	if line, _, _ := strings.Cut(lines[3], "\n"); strings.HasPrefix(line, keyLine) {
		c.Next = line[len(keyLine):]
	}
	return c, nil
}

// nextNote returns the first signed note of a checkpoints file and what
// follows it. Each note (a text, a blank line, signatures) is followed by a
// blank line. False if no whole note is left.
func nextNote(buf []byte) (signed, rest []byte, ok bool) {
	text := bytes.Index(buf, []byte("\n\n"))
	if text < 0 {
		return nil, buf, false
	}
	sigs := bytes.Index(buf[text+2:], []byte("\n\n"))
	if sigs < 0 {
		return nil, buf, false
	}
	end := text + 2 + sigs + 1
	return buf[:end], buf[end+1:], true
}

// A checkpointFile is the file that checkpoints are appended to.
type checkpointFile struct {
	f    *os.File
	size int64 // up to the end of the last whole note
}

func openCheckpoints(dir string) (*checkpointFile, error) {
	f, err := os.OpenFile(filepath.Join(dir, checkpointsName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	end, err := f.Seek(0, 2)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &checkpointFile{f: f, size: end}, nil
}

// append writes a signed note and waits until it is on the disk.
func (c *checkpointFile) append(signed []byte) error {
	framed := append(signed[:len(signed):len(signed)], '\n')
	if _, err := c.f.WriteAt(framed, c.size); err != nil {
		return errors.Join(err, c.f.Truncate(c.size))
	}
	if err := c.f.Sync(); err != nil {
		return err
	}
	c.size += int64(len(framed))
	return nil
}

// lastNotes is how much of the end of a checkpoints file is searched for the
// last note; one takes some 250 bytes.
const lastNotes = 64 << 10

// last returns the last whole checkpoint of the file, Size 0 if there is none,
// and where it ends.
func (c *checkpointFile) last(verifier note.Verifier) (checkpoint, int64, error) {
	signed, end, err := c.lastNote()
	if err != nil || signed == nil && end == 0 {
		return checkpoint{}, 0, err
	}
	last, err := openCheckpoint(signed, verifier)
	if err != nil {
		return last, 0, fmt.Errorf("the last checkpoint: %w", err)
	}
	return last, end, nil
}

// lastNote returns the last whole note of the file, as it was signed, and where
// it ends; nil and 0 if there is none.
func (c *checkpointFile) lastNote() ([]byte, int64, error) {
	start := max(0, c.size-lastNotes)
	buf := make([]byte, c.size-start)
	if _, err := c.f.ReadAt(buf, start); err != nil {
		return nil, 0, err
	}
	if start > 0 {
		skip := noteStart(buf)
		buf, start = buf[skip:], start+int64(skip)
	}
	var signed []byte
	for {
		note, rest, ok := nextNote(buf)
		if !ok {
			return signed, start, nil
		}
		start += int64(len(buf) - len(rest))
		signed, buf = note, rest
	}
}

// LastCheckpoint returns the latest checkpoint of the recording in dir as it
// was signed, its signature checked with verifierKey. It may be given to Verify
// later, or anywhere else.
func LastCheckpoint(dir, verifierKey string) ([]byte, error) {
	ring, err := openKeyring(dir, verifierKey)
	if err != nil {
		return nil, err
	}
	signed, err := lastSigned(dir)
	if err != nil {
		return nil, err
	}
	if signed == nil {
		return nil, errors.New("there is no checkpoint yet")
	}
	if _, err := ring.open(signed); err != nil {
		return nil, fmt.Errorf("the last checkpoint: %w", err)
	}
	return signed, nil
}

// lastSigned returns the last checkpoint in dir, whoever signed it, nil if there
// is none.
func lastSigned(dir string) ([]byte, error) {
	f, err := os.Open(filepath.Join(dir, checkpointsName))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	stat, err := f.Stat()
	if err != nil {
		return nil, err
	}
	c := checkpointFile{f: f, size: stat.Size()}
	signed, _, err := c.lastNote()
	return signed, err
}

// noteStart returns where the first note begins in a piece of a checkpoints
// file: after a blank line, and not with a signature.
func noteStart(buf []byte) int {
	at := 0
	for {
		i := bytes.Index(buf[at:], []byte("\n\n"))
		if i < 0 {
			return len(buf)
		}
		at += i + 2
		if !bytes.HasPrefix(buf[at:], []byte("— ")) {
			return at
		}
	}
}
