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
	Verdicts  map[string]int64 `json:"verdicts"` // by the verdict's name
	Policy    Policy           `json:"policy"`
	Log       Log              `json:"log"`
	Workloads []Workload       `json:"workloads"`
	Targets   []Target         `json:"targets"`
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
	Problem    string    `json:"problem,omitempty"`
}

// A Workload is a captured cgroup and all below it.
type Workload struct {
	Name       string `json:"name"`
	Source     string `json:"source"` // run, unit or cgroup
	Cgroup     string `json:"cgroup"`
	Processes  int    `json:"processes"`  // in the cgroup and below
	Namespaces int    `json:"namespaces"` // network namespaces they are in, each with a listener
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
	Addresses    []string          `json:"addresses"`
	Protocol     string            `json:"protocol"`
	Default      string            `json:"default"`      // allow or deny, where no rule speaks
	Unclassified string            `json:"unclassified"` // allow or deny, where nothing was understood
	Labels       map[string]string `json:"labels,omitempty"`
}
