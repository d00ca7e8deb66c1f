package agentd

import (
	"agentd.dev/decoders"
	"agentd.dev/policy"
	"agentd.dev/policy/document"
)

// Results says how much of the results of one request is recorded.
type Results struct {
	Said  bool // false: what holds for all targets
	Limit Size // 0: nothing
}

// How much may be wanted. A record of as many bytes, each of which has to be
// escaped, still fits into a frame of the log.
const (
	leastResults Size = 1 << 10
	mostResults  Size = 256 << 10
)

func (r *Results) read(v document.Value) {
	switch word, ok := v.Word(); {
	case !ok:
		return
	case word == "off":
		*r = Results{Said: true}
		return
	}
	limit := Size(-1)
	if size(&limit, leastResults, mostResults)(v); limit >= 0 {
		*r = Results{Said: true, Limit: limit}
	}
}

// capture notes what of a session will be in its record. It holds until its end,
// whatever the configuration says later.
func (c *Config) capture(s *policy.Session, p *decoders.Protocol) {
	if s.Scope != policy.Plaintext {
		s.NotCaptured = []string{"everything but how many bytes pass"}
		return
	}
	s.NotCaptured = p.Missed
	if !p.Results {
		return
	}
	results := c.Record.Results
	if t, ok := c.Targets.named(s.Target.Name); ok && t.Results.Said {
		results = t.Results
	}
	if s.Results = results.Limit.Int(); s.Results == 0 {
		s.NotCaptured = append([]string{"results"}, p.Missed...)
	}
}
