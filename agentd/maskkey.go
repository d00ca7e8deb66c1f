package agentd

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"agentd.dev/decoders/masks"
)

const (
	minMaskKey = 16
	maxMaskKey = 4 << 10
)

// maskKey returns the key that values are masked with: that of the configured
// file, or one of the node's own, which is made when it is first needed.
func (c *Config) maskKey() (*masks.Key, error) {
	if c.MaskKey != "" {
		key, err := readMaskKey(c.MaskKey)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no file %s: make one, as by `head -c 32 /dev/urandom | base64`, and give it to all nodes that should agree", c.MaskKey)
		}
		return key, err
	}
	own := filepath.Join(c.State, "keys", "mask.key")
	key, err := readMaskKey(own)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := makeMaskKey(own); err != nil {
		return nil, fmt.Errorf("make %s: %w", own, err)
	}
	return readMaskKey(own)
}

// readMaskKey reads a key that nobody but its owner can read. What is white
// around it does not count, so that a file with a last line's end is the same.
func readMaskKey(name string) (*masks.Key, error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular() || info.Size() > maxMaskKey:
		return nil, fmt.Errorf("%s cannot be a key: it is no file of at most %d bytes", name, maxMaskKey)
	case info.Mode().Perm()&0o007 != 0:
		return nil, fmt.Errorf("%s has mode %v, and who reads it can guess what was masked: chmod 600 it", name, info.Mode().Perm())
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	text = bytes.TrimSpace(text)
	if len(text) < minMaskKey {
		return nil, fmt.Errorf("%s has %d bytes, and a key at least %d: `head -c 32 /dev/urandom | base64` makes one", name, len(text), minMaskKey)
	}
	return masks.NewKey(text), nil
}

// makeMaskKey makes a key under its name at once, or not at all; if another
// agentd was faster, that one's stays.
func makeMaskKey(name string) error {
	folder := filepath.Dir(name)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(folder, "mask.key.*") // with mode 600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	secret := make([]byte, masks.KeySize)
	rand.Read(secret)
	_, err = f.WriteString(hex.EncodeToString(secret) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), name); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
