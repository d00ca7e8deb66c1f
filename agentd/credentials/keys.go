package credentials

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
)

// maxKeys is how many keys are remembered: one for each password at each
// server.
const maxKeys = 1024

// keys remembers what passwords are worth to servers, which takes long to
// find out. A key is as secret as the password it was made from.
type keys struct {
	mu  sync.Mutex // guards all
	all map[[sha256.Size]byte][]byte
}

// passwordKeys are those of one password. They implement decoders.Keys.
type passwordKeys struct {
	*keys
	name     string
	password Secret
}

// Known implements decoders.Keys.
func (k *passwordKeys) Known(salt []byte, iterations int) ([]byte, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key, ok := k.all[k.id(salt, iterations)]
	return key, ok
}

// Keep implements decoders.Keys.
func (k *passwordKeys) Keep(salt []byte, iterations int, key []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.all == nil || len(k.all) >= maxKeys {
		k.all = map[[sha256.Size]byte][]byte{}
	}
	k.all[k.id(salt, iterations)] = key
}

// id tells keys apart. A password that was changed has keys of its own, even
// where a server goes on with the old salt.
func (k *passwordKeys) id(salt []byte, iterations int) [sha256.Size]byte {
	var b []byte
	for _, part := range []string{k.name, k.password.text, string(salt)} {
		b = binary.AppendUvarint(b, uint64(len(part)))
		b = append(b, part...)
	}
	id := sha256.Sum256(binary.AppendUvarint(b, uint64(iterations)))
	clear(b)
	return id
}
