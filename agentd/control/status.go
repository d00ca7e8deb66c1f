package control

import "time"

// Status is how a daemon is at one moment.
type Status struct {
	Version   string           `json:"version"`
	Node      string           `json:"node"`
	PID       int              `json:"pid"`
	Started   time.Time        `json:"started"`
	Uptime    Seconds          `json:"uptimeSeconds"`
	Capture   Capture          `json:"capture"`
	Sessions  SessionCount     `json:"sessions"`
	Draining  []Draining       `json:"draining,omitempty"` // daemons that this one has taken over from
	Verdicts  map[string]int64 `json:"verdicts"`           // by the verdict's name
	Approvals ApprovalCount    `json:"approvals"`
	Config    Config           `json:"config"`
	Policy    Policy           `json:"policy"`
	Log       Log              `json:"log"`
	CA        CA               `json:"ca"`
	Workloads []Workload       `json:"workloads"`
	Targets   []Target         `json:"targets"`
	// Credentials are what agentd logs in to targets with.
	Credentials []Credential `json:"credentials"`
}

// Seconds is a duration in whole seconds.
type Seconds int64

// Duration returns s as a time.Duration.
func (s Seconds) Duration() time.Duration { return time.Duration(s) * time.Second }

// Capture is what was verified of the kernel side, not what was configured.
type Capture struct {
	Verified bool   `json:"verified"` // every workload was seen to be captured
	Problem  string `json:"problem,omitempty"`
	Root     string `json:"root"` // the cgroup directory the programs are attached to
	// Lacks are what is not done because the kernel cannot, in sentences.
	Lacks []string `json:"lacks,omitempty"`
}

// SessionCount counts sessions since the daemon started.
type SessionCount struct {
	Live  int64 `json:"live"`
	Total int64 `json:"total"`
}

// ApprovalCount counts requests for approval.
type ApprovalCount struct {
	Pending int `json:"pending"` // wait for a person now
}

// Config is the configuration in force.
type Config struct {
	File   string    `json:"file"`
	Loaded time.Time `json:"loaded"`
	// Pending are the keys that were changed and take effect at the next start.
	Pending []string `json:"pending,omitempty"`
	// Error is why the file as it is now is not in force, "" if it is.
	Error string `json:"error,omitempty"`
}

// Draining is a daemon that was taken over from and still has sessions.
type Draining struct {
	PID      int `json:"pid"`
	Sessions int `json:"sessions"`
}

// Policy is the rule set in force.
type Policy struct {
	Files  []string  `json:"files"`
	Rules  int       `json:"rules"`
	Loaded time.Time `json:"loaded"`
	// Error is why the files as they are now are not in force, "" if they are.
	Error string `json:"error,omitempty"`
}

// Log is the state of the record.
type Log struct {
	Folder     string    `json:"folder"`
	Key        string    `json:"key"` // the file with the public key that verifies its checkpoints
	Records    uint64    `json:"records"`
	Checkpoint time.Time `json:"checkpoint"` // of the latest signed one; zero if there is none
	Size       uint64    `json:"size"`       // records under that checkpoint
	Failures   int64     `json:"failures"`   // writes that failed since the daemon started
	Free       int64     `json:"free"`       // bytes where it is
	Floor      int64     `json:"floor"`      // of them, below which no session begins
	Problem    string    `json:"problem,omitempty"`
	Sealing    string    `json:"sealing,omitempty"` // why segments that have ended are not sealed, or not emptied
	// Left are the ways that checkpoints leave the node by.
	Left []Departure `json:"left"`
}

// A Departure is the latest checkpoint that left the node by one way.
type Departure struct {
	To       string    `json:"to"`      // journal, webhook NAME or witness NAME
	Records  int64     `json:"records"` // under it
	At       time.Time `json:"at,omitzero"`
	Behind   int64     `json:"behind"`     // records since
	Lag      Seconds   `json:"lagSeconds"` // since it left, or since the start if none did
	Failures int64     `json:"failures"`   // attempts that came to nothing
	Problem  string    `json:"problem,omitempty"`
}

// A Workload is a captured cgroup and all below it.
type Workload struct {
	Name       string `json:"name"`
	Source     string `json:"source"` // run, unit, cgroup, pod or container
	Cgroup     string `json:"cgroup"`
	Namespace  string `json:"namespace,omitempty"` // of the pod that it is, or is a container of
	Pod        string `json:"pod,omitempty"`
	Container  string `json:"container,omitempty"`
	Processes  int    `json:"processes"`  // in the cgroup and below
	Namespaces int    `json:"namespaces"` // network namespaces they are in, each with a listener
	Earlier    int    `json:"earlier"`    // connections it has beside agentd, but for those it accepted
	WhenDown   string `json:"whenDown"`   // what the kernel does while agentd is away: refuse or bypass
	Verified   bool   `json:"verified"`
	// Seen is when a connection that agentd had made from inside last came to
	// it, zero if none did: where no process runs, none is made.
	Seen    time.Time `json:"seen,omitzero"`
	Problem string    `json:"problem,omitempty"`
}

// A Target is a service the configuration names.
type Target struct {
	Name         string            `json:"name"`
	Host         string            `json:"host,omitempty"` // its addresses are those DNS says that this name, or names like this, have
	Addresses    []string          `json:"addresses"`
	Problem      string            `json:"problem,omitempty"` // why DNS could not be asked, or does not know the host
	Protocol     string            `json:"protocol"`
	Default      string            `json:"default"`      // allow or deny, where no rule speaks
	Unclassified string            `json:"unclassified"` // allow or deny, where nothing was understood
	Labels       map[string]string `json:"labels,omitempty"`
	TLS          TLS               `json:"tls"`
}

// A TLS is what a target's configuration says of it.
type TLS struct {
	Client  string `json:"client"`            // off, offer or require
	Server  string `json:"server"`            // disable, prefer, require, verify-ca or verify-full
	Problem string `json:"problem,omitempty"` // why its files as they are now are not used
}

// A CA is whom clients of targets that have TLS are to trust.
type CA struct {
	Certificates []CACertificate `json:"certificates"`
	PEM          string          `json:"pem"` // all of them
	Problem      string          `json:"problem,omitempty"`
}

// A CACertificate is one of the certificates of a CA.
type CACertificate struct {
	Subject string    `json:"subject"`
	SHA256  string    `json:"sha256"`
	From    time.Time `json:"from"`
	Until   time.Time `json:"until"`
	File    string    `json:"file"`
	Signing bool      `json:"signing"` // it signs what clients see; the others have, or will
}

// A Credential is what agentd logs in to targets with, without its secret.
type Credential struct {
	Name    string    `json:"name"`
	Source  string    `json:"source"`         // of the password: file PATH, environment NAME, helper PROGRAM, no password
	User    string    `json:"user,omitempty"` // "" while it is not known
	Fetched time.Time `json:"fetched,omitzero"`
	Expires time.Time `json:"expires,omitzero"`
	Problem string    `json:"problem,omitempty"` // why it could not be fetched the last time
	Warning string    `json:"warning,omitempty"` // what is unwise about it
}

// A Connection is one of a captured workload that does not go through agentd:
// from before the capture, or let past while agentd was away.
type Connection struct {
	Workload string `json:"workload"` // its name
	Protocol string `json:"protocol"` // tcp or udp
	Local    string `json:"local"`
	Remote   string `json:"remote"`
	State    string `json:"state"`
	PID      int    `json:"pid,omitempty"` // of a process that holds it, 0 if none was found
	// Stays is why it is never reset, "" if `takeover: destroy` does that.
	Stays string `json:"stays,omitempty"`
}
