package identity

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"

	"agentd.dev/decoders"
	"agentd.dev/policy"
)

// maxEnviron is how much of an environment is looked at, in bytes.
const maxEnviron = 256 << 10

// A Variable of a process's environment is a claim under Key.
type Variable struct{ Key, Name string }

// Environ knows what a process was given in its environment. Whoever started
// it, and it itself, can make that up: it is claimed.
type Environ struct{ Variables []Variable }

// Identify sets Claims. A process that is gone, or another by now, claims
// nothing.
func (e Environ) Identify(_ context.Context, peer Peer, id *policy.Identity) error {
	if len(e.Variables) == 0 || peer.TGID == 0 {
		return nil
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/environ", peer.TGID))
	if err != nil {
		return nil
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxEnviron))
	if err != nil || !sameStart(peer.TGID, peer.Start) { // compared after it was read, as in Process
		return nil
	}
	var claims []decoders.Claim
	for _, v := range e.Variables {
		for entry := range bytes.SplitSeq(text, []byte{0}) {
			if value, ok := bytes.CutPrefix(entry, []byte(v.Name+"=")); ok {
				claims = decoders.AddClaim(claims, v.Key, string(value))
				break
			}
		}
	}
	for _, c := range claims {
		if id.Claims == nil {
			id.Claims = map[string]string{}
		}
		id.Claims[c.Key] = c.Value
	}
	return nil
}
