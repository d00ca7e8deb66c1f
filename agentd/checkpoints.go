package agentd

import (
	"slices"

	"agentd.dev/policy/document"
	"agentd.dev/recorder"
)

// A CheckpointsConfig says by which ways checkpoints leave the node, each
// heartbeat. Webhooks are another: those that are told of `checkpoint`.
type CheckpointsConfig struct {
	Journal   bool // agentd's own log
	Witnesses []WitnessConfig
}

// A WitnessConfig is a witness that is shown checkpoints.
type WitnessConfig struct {
	Name string
	URL  string // that add-checkpoint is below
	Key  string // its verifier key
	CA   string // file, "" for what the system trusts
}

func (c *CheckpointsConfig) keys(folder string) []document.Key {
	return []document.Key{
		{Name: "journal", Read: flag(&c.Journal)},
		{Name: "witnesses", Read: func(v document.Value) {
			v.List(func(v document.Value) {
				var w WitnessConfig
				v.Map(w.keys(folder))
				if slices.ContainsFunc(c.Witnesses, func(other WitnessConfig) bool { return other.Name == w.Name && w.Name != "" }) {
					v.Problem("witness %q again: names must differ", w.Name)
				}
				c.Witnesses = append(c.Witnesses, w)
			})
		}},
	}
}

func (w *WitnessConfig) keys(folder string) []document.Key {
	return []document.Key{
		{Name: "name", Required: true, Read: name(&w.Name, targetName, "a witness")},
		{Name: "url", Required: true, Read: readURL(&w.URL)},
		{Name: "key", Required: true, Read: func(v document.Value) {
			text, ok := v.Text()
			if !ok {
				return
			}
			if _, err := recorder.ParseWitnessKey(text); err != nil {
				v.Problem("%v", err)
				return
			}
			w.Key = text
		}},
		{Name: "ca", Read: file(&w.CA, folder)},
	}
}
