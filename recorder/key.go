package recorder

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// openKey returns the signer in file and its verifier, making a new key for
// node, and file + ".pub" beside it, if there is none.
func openKey(file, node string) (note.Signer, note.Verifier, error) {
	text, err := readPrivate(file)
	if errors.Is(err, os.ErrNotExist) {
		if text, err = makeKey(file, node); err != nil {
			return nil, nil, fmt.Errorf("there is no signing key %s, and none can be made: %w", file, err)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	signer, err := note.NewSigner(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, nil, fmt.Errorf("read signing key %s: %w", file, err)
	}
	if signer.Name() != node {
		return nil, nil, fmt.Errorf("signing key %s is %q's, and this node is %q: "+
			"use the node's own key, or another key file", file, signer.Name(), node)
	}
	public, err := os.ReadFile(file + ".pub")
	if errors.Is(err, os.ErrNotExist) {
		public, err = makePublic(file, strings.TrimSpace(string(text)))
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read verifier key: %w", err)
	}
	verifier, err := note.NewVerifier(strings.TrimSpace(string(public)))
	if err != nil {
		return nil, nil, fmt.Errorf("read verifier key %s.pub: %w", file, err)
	}
	if verifier.Name() != signer.Name() || verifier.KeyHash() != signer.KeyHash() {
		return nil, nil, fmt.Errorf("%s.pub is not the verifier key of %s", file, file)
	}
	return signer, verifier, nil
}

// readPrivate reads a file that nobody but its owner may read or write.
func readPrivate(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("signing key %s has mode %v: others could sign with it. If nobody has read it, chmod 600 it; "+
			"else move the keys and the log aside, and new ones are made", file, info.Mode().Perm())
	}
	return os.ReadFile(file)
}

// makeKey writes the verifier key first: a signing key never exists without it.
func makeKey(file, node string) ([]byte, error) {
	signing, verifying, err := note.GenerateKey(rand.Reader, node)
	if err != nil {
		return nil, err
	}
	if _, err := note.NewVerifier(verifying); err != nil {
		return nil, fmt.Errorf("node name %q cannot name a key: no spaces and no plus signs, please", node)
	}
	if err := writeFile(file+".pub", strings.NewReader(verifying+"\n"), 0o644); err != nil {
		return nil, err
	}
	return []byte(signing), writeFile(file, strings.NewReader(signing+"\n"), 0o600)
}

// makePublic writes the verifier key of a signing key that was brought without.
func makePublic(file, signing string) ([]byte, error) {
	key, err := parseKey(signing)
	if err != nil {
		return nil, err
	}
	if err := writeFile(file+".pub", strings.NewReader(key.verifying+"\n"), 0o644); err != nil {
		return nil, fmt.Errorf("%s.pub is missing and cannot be made; it holds %s: %w", file, key.verifying, err)
	}
	return []byte(key.verifying), nil
}

// writeFile writes a file that is whole or not there, also after a power cut.
func writeFile(path string, data io.Reader, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = io.Copy(f, data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncFolder(filepath.Dir(path))
}

// syncFolder makes the names in dir survive a power cut.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
