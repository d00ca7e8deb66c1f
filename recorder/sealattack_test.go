package recorder

import (
	"bytes"
	"encoding/hex"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A sealed log is attacked as root would: each attack is named.
func TestAnAttackOnSealedSegmentsIsNamed(t *testing.T) {
	id := anIdentity(t)
	retention := func(o *Options) { o.Retention = []Rule{{Name: "soon", After: time.Hour}} }
	for _, kind := range []struct {
		name   string
		change []func(*Options)
	}{
		{"sealed", nil},
		{"encrypted", []func(*Options){encryptTo(id)}},
		{"emptied", []func(*Options){retention}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			l := sealedLog(t, kind.change...)
			l.keepNow(t)
			closed(t, l)
			path := func(n int64) string { return filepath.Join(l.opts.Dir, segmentName(n)) }
			read := func(n int64) []byte {
				data, err := os.ReadFile(path(n))
				if err != nil {
					t.Fatal(err)
				}
				return data
			}
			one, two := read(1), read(2)
			put := func(n int64, data []byte) {
				if err := os.WriteFile(path(n), data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			named := func(what string) {
				t.Helper()
				r, err := Verify(l.opts.Dir, l.verifier(t), VerifyOptions{})
				if err != nil || r.OK {
					t.Errorf("%s: got %+v, %v; want it named", what, r, err)
				}
				put(1, one)
				put(2, two)
			}
			for at := 0; at < len(two); at += max(1, len(two)/200) {
				changed := bytes.Clone(two)
				changed[at] ^= 0x20
				put(2, changed)
				named("a byte changed at " + hex.EncodeToString([]byte{byte(at >> 8), byte(at)}))
			}
			put(1, two)
			put(2, one)
			named("swapped")
			put(2, one)
			named("a copy of another")
			put(2, two[:len(two)-1])
			named("cut")
			put(2, nil)
			named("emptied as a file")
			if err := os.Remove(path(2)); err != nil {
				t.Fatal(err)
			}
			named("removed")
			forged := appendHeader(nil, &chain{})
			put(1, forged)
			named("a plain one forged")
			if r, err := Verify(l.opts.Dir, l.verifier(t), VerifyOptions{}); err != nil || !r.OK {
				t.Errorf("put back: got %+v, %v; want it right", r.Bad, err)
			}
		})
	}
}

// Who empties a segment without a note, with the right format and hashes, or puts
// other ciphertext in an encrypted one, is found as that.
func TestContentsDeletedByNobodyAreNamed(t *testing.T) {
	for _, to := range []form{emptiedForm, encryptedForm} {
		l := sealedLog(t, encryptTo(anIdentity(t)))
		l.keepNow(t)
		closed(t, l)
		o := opener{dir: l.opts.Dir, identities: nil}
		next, err := o.open(2)
		if err != nil {
			t.Fatal(err)
		}
		next.close()
		src, err := o.open(1)
		if err != nil {
			t.Fatal(err)
		}
		defer src.close()
		path := filepath.Join(l.opts.Dir, segmentName(1))
		want := DeletedByNobody
		if to == encryptedForm { // the same hashes, and ciphertext with its checksum put right
			want = SegmentChanged
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			data, err = recrypted(data, src)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
		} else {
			f, err := os.Create(path + ".forged")
			if err != nil {
				t.Fatal(err)
			}
			deflate, err := newEncoder()
			if err != nil {
				t.Fatal(err)
			}
			s := sealing{deflate: deflate, form: emptiedForm}
			s.foot.Rule = "a rule that there is not"
			if err := s.rewrite(f, src, &next.before, nil, func() bool { return false }); err != nil {
				t.Fatal(err)
			}
			f.Close()
			if err := os.Rename(f.Name(), path); err != nil {
				t.Fatal(err)
			}
		}
		r, err := Verify(l.opts.Dir, l.verifier(t), VerifyOptions{})
		if err != nil || r.OK || r.Bad.Kind != want || r.Bad.Segment != segmentName(1) {
			t.Errorf("got %+v, %v; want %s", r.Bad, err, want)
		}
	}
}

// recrypted changes a byte of the first block and makes all checksums fit.
func recrypted(data []byte, s *opened) ([]byte, error) {
	f := s.foot
	b := &f.blocks[0]
	data[b.at] ^= 1
	b.sum = crc32.Checksum(data[b.at:b.at+int64(b.stored)], castagnoli)
	end := int64(len(data)) - footEnd
	n := int64(data[end]) | int64(data[end+1])<<8 | int64(data[end+2])<<16
	return appendFoot(data[:end-n], f)
}

func FuzzSealed(f *testing.F) {
	l := sealedLog(f)
	l.keepNow(f)
	l.Close()
	for _, n := range []int64{1, 2} {
		data, err := os.ReadFile(filepath.Join(l.opts.Dir, segmentName(n)))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := os.Create(filepath.Join(t.TempDir(), "x"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if _, err := file.Write(data); err != nil {
			t.Fatal(err)
		}
		o := opener{}
		s, err := o.read(file)
		if err != nil {
			return
		}
		for n := 0; ; n++ {
			_, _, err := s.next()
			if err != nil && (!unreadable(err) || s.lost()) {
				return
			}
			if n > 1<<22 {
				t.Fatal("it does not end")
			}
		}
	})
}
