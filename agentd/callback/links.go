package callback

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Links make and know the links in notices. A link shows one request until that
// expires; one that is somebody's decides about it, too, once.
//
// They end with the process, as the requests do that they are for.
type Links struct {
	now func() time.Time
	key [32]byte

	mu   sync.Mutex // guards used
	used map[string]time.Time
}

// NewLinks returns Links with a key that nobody else has.
func NewLinks() *Links {
	l := &Links{now: time.Now, used: map[string]time.Time{}}
	rand.Read(l.key[:])
	return l
}

// Link returns a link to a request below base. As is whose it is, "" for one
// that many read.
func (l *Links) Link(base, id, as string, expires time.Time) string {
	q := url.Values{"t": {l.token(id, as, expires)}}
	if as != "" {
		q.Set("as", as)
	}
	return strings.TrimSuffix(base, "/") + "/approvals/" + id + "?" + q.Encode()
}

// token proves that agentd made a link.
func (l *Links) token(id, as string, expires time.Time) string {
	t := binary.BigEndian.AppendUint64(nil, uint64(expires.Unix()))
	return base64.RawURLEncoding.EncodeToString(append(t, l.mac(id, as, t)...))
}

// mac is of all that a link says. Its parts have no byte 0 in them, but t, which
// has a fixed length.
func (l *Links) mac(id, as string, t []byte) []byte {
	h := hmac.New(sha256.New, l.key[:])
	for _, part := range []string{"agentd link", id, as, string(t)} {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	return h.Sum(nil)
}

var errLink = errors.New("this link is not valid, or not any more: it is for one request, until that expires, and decides once")

// check reports what is wrong with a link, used ones included.
func (l *Links) check(token, id, as string) error {
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) != 8+sha256.Size || strings.ContainsRune(as, 0) {
		return errLink
	}
	if !hmac.Equal(b[8:], l.mac(id, as, b[:8])) {
		return errLink
	}
	if l.now().Unix() >= int64(binary.BigEndian.Uint64(b)) {
		return errLink
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, used := l.used[token]; used {
		return errLink
	}
	return nil
}

// take is check, after which the link is used. Of many at once one has it.
func (l *Links) take(token, id, as string) error {
	if err := l.check(token, id, as); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, used := l.used[token]; used {
		return errLink
	}
	now := l.now()
	for t, until := range l.used {
		if !now.Before(until) {
			delete(l.used, t)
		}
	}
	b, _ := base64.RawURLEncoding.DecodeString(token)
	l.used[token] = time.Unix(int64(binary.BigEndian.Uint64(b)), 0)
	return nil
}

// giveBack makes a link valid again by which nothing was decided.
func (l *Links) giveBack(token string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.used, token)
}
