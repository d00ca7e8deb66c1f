package sinks

import (
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// A Record is one record on its way out.
type Record struct {
	Index int64
	Leaf  [32]byte
	JSON  []byte // as the log has it, but for what stays here
	Fields
	Session *Session // nil if it belongs to none, or nothing is known of that
	SQL     string   // the statement's text: of a request by name, that of its prepare
}

// Fields are what sinks go by, as recorder/FORMAT.md describes them.
type Fields struct {
	Type    string                     `json:"type"`
	Time    time.Time                  `json:"time"`
	ID      string                     `json:"session"` // of the session
	Seq     uint64                     `json:"seq"`
	Ref     uint64                     `json:"ref"`
	Text    string                     `json:"text"` // of a note, too
	Kind    string                     `json:"kind"` // of a note
	Cut     int64                      `json:"text_bytes"`
	Verdict string                     `json:"verdict"`
	Rule    string                     `json:"rule"`
	Reason  string                     `json:"reason"`
	Claims  map[string]string          `json:"claims"`
	Facts   map[string]json.RawMessage `json:"facts"`

	Unclassified string   `json:"unclassified"`
	Approval     string   `json:"approval"`
	Alerts       []string `json:"alerts"`

	Took     time.Duration `json:"ns"`
	Rows     int64         `json:"rows"`
	Bytes    int64         `json:"bytes"`
	Affected int64         `json:"affected"`
	Masked   int64         `json:"masked"`
	Tag      string        `json:"tag"`
	Code     string        `json:"code"`
	Message  string        `json:"message"`
}

// A Session is what is known of a session that a record belongs to.
type Session struct {
	Workload       string            `json:"workload,omitempty"`
	Source         string            `json:"source,omitempty"`
	Namespace      string            `json:"namespace,omitempty"`
	Pod            string            `json:"pod,omitempty"`
	PodUID         string            `json:"pod_uid,omitempty"`
	Container      string            `json:"container,omitempty"`
	ContainerID    string            `json:"container_id,omitempty"`
	Image          string            `json:"image,omitempty"`
	ServiceAccount string            `json:"service_account,omitempty"`
	Owner          string            `json:"owner,omitempty"`
	PID            int               `json:"pid,omitempty"`
	Comm           string            `json:"comm,omitempty"`
	Exe            string            `json:"exe,omitempty"`
	Target         string            `json:"target,omitempty"`
	Address        string            `json:"address,omitempty"`
	Host           string            `json:"host,omitempty"`
	Protocol       string            `json:"protocol,omitempty"`
	User           string            `json:"user,omitempty"`
	Database       string            `json:"database,omitempty"`
	Application    string            `json:"application,omitempty"`
	Claims         map[string]string `json:"claims,omitempty"`
}

// parse reads a record's JSON.
func parse(text []byte) (f Fields, err error) {
	kind := struct {
		Type string `json:"type"`
	}{}
	// Rows of a result are a list in `rows`, where an outcome has their number.
	if err := json.Unmarshal(text, &kind); err != nil {
		return f, err
	}
	if kind.Type == "rows" {
		type short struct {
			Type string    `json:"type"`
			Time time.Time `json:"time"`
			ID   string    `json:"session"`
			Seq  uint64    `json:"seq"`
		}
		var s short
		err := json.Unmarshal(text, &s)
		return Fields{Type: s.Type, Time: s.Time, ID: s.ID, Seq: s.Seq}, err
	}
	err = json.Unmarshal(text, &f)
	return f, err
}

// tame are the fields of records of statements that cannot repeat anything of these.
var tame = []string{
	"i", "prev", "type", "time", "session", "n", "seq", "ref", "text_bytes", "text_sha256", "user", "database",
	"application", "credential", "as", "verdict", "rule", "limited", "approval", "alerts", "again", "columns",
	"ns", "rows", "bytes", "width", "affected", "code", "masked", "by", "unfinished", "skipped", "through", "own",
}

// telling are the types of records that have statements, or what came of them.
var telling = []string{"login", "prepare", "request", "cancel", "result", "own", "outcome"}

// without returns a record's JSON without what could repeat of a statement.
func without(text []byte, fields *Fields) ([]byte, error) {
	if !slices.Contains(telling, fields.Type) {
		return text, nil
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, err
	}
	maps.DeleteFunc(all, func(key string, _ json.RawMessage) bool { return !slices.Contains(tame, key) })
	fields.Text, fields.Facts, fields.Message, fields.Tag, fields.Claims = "", nil, "", "", nil
	fields.Reason, fields.Unclassified = "", ""
	return json.Marshal(all)
}
