package agentd

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"reflect"
	"time"

	"agentd.dev/agentd/certs"
	"agentd.dev/decoders/all"
	"agentd.dev/policy"
)

// An inForce is what one reading of the files came to. It never changes: a
// later reading makes another.
type inForce struct {
	config *Config
	policy *policy.Engine
	ca     *certs.Authority
	sums   sums
	since  time.Time
}

// sums are the SHA-256 of files, in hex, "" for one that cannot be read.
type sums map[string]string

// readPolicy reads what the configuration names.
func readPolicy(config *Config) (*inForce, error) {
	if err := onlyOwners(append(policy.Files(config.Policies), config.File)); err != nil {
		return nil, err
	}
	sums := sumFiles(config.File, config.Policies) // first: a change in between shows later
	engine, err := policy.LoadKeyed(config.Policies, all.Protocols, config.maskKey)
	if err != nil {
		return nil, err
	}
	if err := engine.Lacking(credentialNames(config.Credentials)); err != nil {
		return nil, err
	}
	return &inForce{config: config, policy: engine, sums: sums, since: time.Now()}, nil
}

// sumFiles returns the sums of a configuration file and of policies.
func sumFiles(config string, policies []string) sums {
	found := sums{}
	for _, name := range append(policy.Files(policies), config) {
		if name != "" {
			found[name] = sumFile(name)
		}
	}
	return found
}

func sumFile(name string) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(f, 64<<20)); err != nil { // no such file is read that is longer
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}

// fixed are the keys that agentd reads at its start only.
var fixed = []struct {
	key string
	of  func(*Config) any
}{
	{"node", func(c *Config) any { return c.Node }},
	{"state", func(c *Config) any { return c.State }},
	{"socket", func(c *Config) any { return c.Socket }},
	{"metrics", func(c *Config) any { return c.Metrics }},
	{"capture.root", func(c *Config) any { return c.Capture.Root }},
	{"capture.pins", func(c *Config) any { return c.Capture.Pins }},
	{"capture.takeover", func(c *Config) any { return c.Capture.Takeover }},
	{"capture.runtime", func(c *Config) any { return c.Capture.Runtime }},
	{"capture.nri", func(c *Config) any { return c.Capture.NRI }},
	{"resolver", func(c *Config) any { return c.Resolver }},
	{"record", func(c *Config) any {
		r := c.Record
		r.Results = 0 // of sessions that begin
		return r
	}},
	{"identity.environment", func(c *Config) any { return c.Environment }},
	{"coreDumps", func(c *Config) any { return c.CoreDumps }},
	{"limits.loops", func(c *Config) any { return c.Limits.Loops }},
	{"approvals", func(c *Config) any { return c.Approvals }},
	{"callback.listen", func(c *Config) any { return c.Callback.Listen }},
}

// pending are the keys whose values in now take effect at the next start.
func pending(started, now *Config) []string {
	keys := []string{}
	for _, f := range fixed {
		if !reflect.DeepEqual(f.of(started), f.of(now)) {
			keys = append(keys, f.key)
		}
	}
	return keys
}
