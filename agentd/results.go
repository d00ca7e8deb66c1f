package agentd

import (
	"agentd.dev/decoders"
	"agentd.dev/policy"
	"agentd.dev/policy/document"
)

// How much may be wanted. A record of as many bytes, each of which has to be
// escaped, still fits into a frame of the log.
const (
	leastResults Size = 1 << 10
	mostResults  Size = 256 << 10
)

// readResults reads how much of the results of one request is recorded.
func readResults(to *Size) func(document.Value) {
	return func(v document.Value) {
		switch word, ok := v.Word(); {
		case !ok:
		case word == "off":
			*to = 0
		default:
			size(to, leastResults, mostResults)(v)
		}
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
	if t, ok := c.Targets.named(s.Target.Name); ok && t.Results != nil {
		results = *t.Results
	}
	if s.Results = results.Int(); s.Results == 0 {
		s.NotCaptured = append([]string{"results"}, p.Missed...)
	}
}
