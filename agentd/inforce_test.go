package agentd

import (
	"slices"
	"testing"

	"agentd.dev/policy/document"
)

// live are the keys whose changes hold at once.
var live = []string{
	"policies", "sinks", "targets", "credentials", "ca", "unlisted", "maskKey",
	"capture.onStop", "capture.whenDown", "capture.unknown", "capture.strict", "capture.udp", "capture.workloads", "capture.select",
	"limits.statement", "limits.drain", "limits.handover",
	"webhooks", "callback.url", "callback.cert", "callback.key", "callback.approvers", "drift",
}

// No change of a key is ignored in silence: it holds at once, or is said to
// wait for the next start.
func TestEveryKeyHoldsAtOnceOrIsSaidToWait(t *testing.T) {
	known := slices.Clone(live)
	for _, f := range fixed {
		known = append(known, f.key)
	}
	var c Config
	var all []string
	add := func(prefix string, keys []document.Key) {
		for _, k := range keys {
			switch name := prefix + k.Name; name {
			case "capture", "limits", "callback", "identity":
			default:
				all = append(all, name)
			}
		}
	}
	add("", c.keys(""))
	add("capture.", c.Capture.keys(""))
	add("limits.", c.Limits.keys())
	add("callback.", c.Callback.keys(""))
	add("identity.", []document.Key{{Name: "environment"}})
	slices.Sort(known)
	slices.Sort(all)
	if !slices.Equal(known, all) {
		t.Errorf("got %q, want each key of the configuration once: %q", known, all)
	}
}
