package recorder

import (
	"encoding/json"
	"fmt"
	"time"
)

// A record is any record as it is read back. FORMAT.md says which types have
// which fields.
type record struct {
	Index   int64     `json:"i"`
	Type    string    `json:"type"`
	Time    time.Time `json:"time"`
	Session string    `json:"session"`
	Seq     uint64    `json:"seq"`
	Ref     uint64    `json:"ref"`

	Workload string `json:"workload"`
	Source   string `json:"source"`
	Cgroup   string `json:"cgroup"`
	Unit     string `json:"unit"`
	Place
	PID      int       `json:"pid"`
	PIDStart time.Time `json:"pid_start"`
	UID      uint32    `json:"uid"`
	Comm     string    `json:"comm"`
	Exe      string    `json:"exe"`
	Target   string    `json:"target"`
	Address  string    `json:"address"`
	Host     string    `json:"host"`
	Protocol string    `json:"protocol"`
	Scope    string    `json:"scope"`
	Results  int       `json:"results"`

	NotCaptured []string `json:"not_captured"`

	Claims map[string]string `json:"claims"`
	Silence
	Seen

	ClientTLS *Secured `json:"client_tls"`
	ServerTLS *Secured `json:"server_tls"`

	User        string `json:"user"`
	Database    string `json:"database"`
	Application string `json:"application"`
	Credential  string `json:"credential"`
	As          string `json:"as"`

	Text
	recorded
	Exceptional string `json:"exceptional"`
	Again       bool   `json:"again"` // judged before, and held since
	Answer
	Columns []Column `json:"columns"`
	Done
	Shown *Rows `json:"-"` // of rows alone

	FromClient int64 `json:"from_client"`
	FromServer int64 `json:"from_server"`
	Unsent     int64 `json:"unsent"`
	Statements int64 `json:"statements"`
	Denied     int64 `json:"denied"`
	Failed     int64 `json:"failed"`

	Lost   int64     `json:"lost"`
	Since  time.Time `json:"since"`
	Signed int64     `json:"signed"`

	Continues bool  `json:"continues"`
	Heartbeat int64 `json:"heartbeat"` // ns
}

// A Place is the container and the pod that a session came from, as far as
// they are known.
type Place struct {
	Container      string            `json:"container,omitempty"`
	ContainerID    string            `json:"container_id,omitempty"`
	Image          string            `json:"image,omitempty"`
	Namespace      string            `json:"namespace,omitempty"`
	Pod            string            `json:"pod,omitempty"`
	PodUID         string            `json:"pod_uid,omitempty"`
	ServiceAccount string            `json:"service_account,omitempty"`
	Owner          string            `json:"owner,omitempty"`
	Labels         map[string]string `json:"labels,omitempty"` // of the pod
}

// A Silence is what held for a session's target when it began, where rules do
// not speak: labels are what they can go by.
type Silence struct {
	TargetLabels map[string]string `json:"target_labels,omitempty"`
	// Default is allow or deny: of requests that no rule speaks of; "" in
	// records that older versions wrote, which do not have facts either.
	Default string `json:"default,omitempty"`
	// NotUnderstood is the same of requests that were not understood.
	NotUnderstood string `json:"not_understood,omitempty"`
}

// A Secured is how TLS was on one leg of a session. Of the leg to the client, the
// certificate was agentd's.
type Secured struct {
	Version string `json:"version"`
	Cipher  string `json:"cipher"`
	Name    string `json:"name,omitempty"` // the host that was asked for
	// Of the server's certificate:
	Verified string    `json:"verified,omitempty"` // nothing, chain or name
	Subject  string    `json:"subject,omitempty"`
	Issuer   string    `json:"issuer,omitempty"`
	SHA256   string    `json:"sha256,omitempty"`
	Until    time.Time `json:"until,omitzero"`
}

// A Text is what a record keeps of a statement.
type Text struct {
	Text   string `json:"text,omitempty"`
	Raw    []byte `json:"text_raw,omitempty"`    // exactly, if it is not UTF-8
	Bytes  int64  `json:"text_bytes,omitempty"`  // of the whole, if it was cut
	SHA256 string `json:"text_sha256,omitempty"` // of the whole, if it was cut
}

// An Answer is what the policy said.
type Answer struct {
	Unclassified string `json:"unclassified,omitempty"`
	Verdict      string `json:"verdict,omitempty"` // allow, mask, deny, close, hold
	Rule         string `json:"rule,omitempty"`
	Reason       string `json:"reason,omitempty"`
	Hint         string `json:"hint,omitempty"`
	Limited      string `json:"limited,omitempty"`  // the rule that bounds what was let through
	Approval     string `json:"approval,omitempty"` // what people were asked, or have decided
	// Shadows are what rules in shadow mode would have decided.
	Shadows []Shadow `json:"shadows,omitempty"`
	Alerts  []string `json:"alerts,omitempty"` // the rules that told people
}

// A Shadow is what a rule in shadow mode would have decided.
type Shadow struct {
	Verdict string `json:"verdict"`
	Rule    string `json:"rule"`
	Columns []int  `json:"columns,omitempty"` // of a result: which it would have masked, by index
}

// A Column is a protected column of a result.
type Column struct {
	Index   int    `json:"index"`
	Schema  string `json:"schema,omitempty"`
	Table   string `json:"table,omitempty"`
	Column  string `json:"column,omitempty"`
	Derived bool   `json:"derived,omitempty"`
	Masked  bool   `json:"masked,omitempty"`
	As      string `json:"as,omitempty"` // what masked values became; "": NULL
	// Searched: only what was found in the values was replaced.
	Searched bool `json:"searched,omitempty"`
}

// A Done is what a request came to.
type Done struct {
	Took  time.Duration `json:"ns"`
	Rows  int64         `json:"rows"`
	Bytes int64         `json:"bytes"`
	Width int           `json:"width,omitempty"` // columns of the last result that had any
	// Affected are the rows that were inserted, updated, deleted or copied in.
	Affected int64  `json:"affected,omitempty"`
	Tag      string `json:"tag,omitempty"`
	Code     string `json:"code,omitempty"`
	Message  string `json:"message,omitempty"`
	Masked   int64  `json:"masked,omitempty"`
	// By is how much of that was by which rule, or of which pattern.
	By map[string]int64 `json:"by,omitempty"`
	// Over are the limits in shadow mode that it went beyond, by rule.
	Over []string `json:"over,omitempty"`
	// Unfinished: the session ended first, and this is what had come until then.
	Unfinished bool `json:"unfinished,omitempty"`
	Skipped    bool `json:"skipped,omitempty"`
	Own        bool `json:"own,omitempty"` // of what agentd itself asked
	// Through is the seq of the last request that this outcome is of, if it
	// is of several; those with an outcome or a refusal are not meant.
	Through uint64 `json:"through,omitempty"`
}

// parseRecord reads a frame's payload.
func parseRecord(payload []byte) (*record, error) {
	if len(payload) < 1+len(recordHead) {
		return nil, errLink
	}
	if recordType(payload[1:]) == "rows" {
		return parseRows(payload)
	}
	var r record
	if err := json.Unmarshal(payload[1:], &r); err != nil {
		return nil, fmt.Errorf("a record that is not JSON: %w", err)
	}
	return &r, nil
}
