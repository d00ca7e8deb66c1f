package agentd

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"agentd.dev/agentd/capture"
	"agentd.dev/agentd/credentials"
	"agentd.dev/agentd/identity"
	"agentd.dev/agentd/selection"
	"agentd.dev/policy/document"
)

// A Config is what the configuration file says, with defaults for what it
// does not. docs/schema/agentd.json describes the file.
type Config struct {
	File     string // that it was read from
	Node     string // what this node calls itself in records
	State    string // folder of the record and the keys
	Socket   string // of the control API
	Metrics  string // address to serve metrics at, "" for none
	Capture  CaptureConfig
	Policies []string // files and folders
	Targets  Targets
	// Credentials are what agentd logs in to targets with.
	Credentials []credentials.Credential
	CA          CAConfig
	Resolver    string // address of the DNS server that is asked for the hosts of targets, "" for those of /etc/resolv.conf
	Unlisted    Unlisted
	MaskKey     string              // file of the key that masks are made with, "" for one of the node's own
	Environment []identity.Variable // of captured processes, that are recorded as claims
	Record      RecordConfig
	Limits      LimitsConfig
	Approvals   ApprovalsConfig
	Webhooks    []WebhookConfig
	Callback    CallbackConfig
	Drift       DriftConfig
	// CoreDumps: agentd may leave a core, with secrets in it, when it crashes.
	CoreDumps bool

	// Stay is a flag, not in the file: stay after another agentd has taken
	// over and all sessions have ended, until told to stop.
	Stay bool
}

// A CaptureConfig says what is captured.
type CaptureConfig struct {
	Root      string // cgroup directory to attach to, "" for the top of the hierarchy
	Pins      string // folder in a BPF filesystem
	OnStop    OnStop
	WhenDown  capture.Down
	Unknown   capture.Unknown // what may be selected, and is not decided on yet
	Takeover  capture.Takeover
	Strict    bool
	UDP       []uint16 // ports that captured workloads may send datagrams to
	Runtime   string   // CRI socket of the container runtime, "" for none
	NRI       string   // its NRI socket, "" for none
	Workloads []WorkloadConfig
	Select    []selection.Rule
}

// OnStop is what becomes of captured workloads when agentd stops on purpose.
type OnStop uint8

const (
	OnStopDetach OnStop = iota // they connect as if agentd had never been
	OnStopHold                 // as if it had died: WhenDown applies
)

// Unlisted is what happens to connections to addresses that no target names.
type Unlisted uint8

const (
	UnlistedRefuse  Unlisted = iota // refuse them
	UnlistedObserve                 // let them through, and record what is understood
)

// A RecordConfig says how records are kept.
type RecordConfig struct {
	Segment    Size     // of a file of the log
	Age        Duration // at which one ends, 0 for none
	Encrypt    []string // age recipients that it is encrypted to, once it has ended
	Retention  []RetentionRule
	Checkpoint Duration // between signed checkpoints
	Heartbeat  Duration // between those that leave, and at most between two records; 0 for never
	Floor      Floor    // that must stay free on the disk
	Facts      Facts
	Results    Size   // of each request's results that is kept, of targets that do not say; 0 for none
	Key        string // file of the signing key, "" for one in the state folder
	// Checkpoints are the ways that checkpoints leave by.
	Checkpoints CheckpointsConfig
}

// Facts is what of statements is found out for the record.
type Facts uint8

const (
	FactsWanted Facts = iota // what some rule asks for
	FactsAll                 // all that rules can ask for
)

// A LimitsConfig bounds what one connection, and agentd, may use.
type LimitsConfig struct {
	Statement Size     // longest statement that is judged; a longer one is unclassified
	Loops     int      // relay threads, 0 for one for every two cores
	Drain     Duration // how long sessions may go on when agentd stops
	Handover  Duration // how long sessions may go on after another agentd has taken over
}

// An ApprovalsConfig bounds what waits for people, and says what is kept of it.
type ApprovalsConfig struct {
	PerWorkload int      // how many requests of one workload may wait
	Pending     int      // how many of all
	Keep        int      // how many that are over are listed
	KeepFor     Duration // and for how long
}

// LoadConfig reads a configuration file. Its error is document.Errors if the
// file is wrong: every problem, with its place and what to do. Paths in the
// file are relative to the folder it is in.
func LoadConfig(path string) (*Config, error) {
	c := defaults()
	c.File = path
	var report document.Report
	if v, ok := document.Open(path, &report); ok {
		v.Map(c.keys(filepath.Dir(path)))
		c.Targets.settle(c.Credentials)
		c.settleHooks()
	}
	if err := report.Err(); err != nil {
		return nil, err
	}
	if c.Node == "" {
		host, err := os.Hostname()
		if err != nil || !nodeName.MatchString(host) {
			return nil, fmt.Errorf("%s: the host name %q cannot name the node: set `node`", path, host)
		}
		c.Node = host
	}
	return c, nil
}

func defaults() *Config {
	return &Config{
		State:     "/var/lib/agentd",
		Socket:    "/run/agentd/agentd.sock",
		Metrics:   "127.0.0.1:9464",
		Capture:   CaptureConfig{Pins: "/sys/fs/bpf/agentd", UDP: []uint16{53}},
		Record:    RecordConfig{Segment: 64 << 20, Age: Duration(24 * time.Hour), Checkpoint: Duration(time.Second), Heartbeat: Duration(time.Minute), Checkpoints: CheckpointsConfig{Journal: true}, Floor: Floor{Size: 256 << 20}},
		Limits:    LimitsConfig{Statement: 16 << 20, Drain: Duration(10 * time.Second), Handover: Duration(24 * time.Hour)},
		Approvals: ApprovalsConfig{PerWorkload: 200, Pending: 1000, Keep: 1000, KeepFor: Duration(7 * 24 * time.Hour)},
		Drift:     DriftConfig{Learn: Duration(7 * 24 * time.Hour)},
	}
}

// keys are the keys of the file. Relative paths begin at folder.
func (c *Config) keys(folder string) []document.Key {
	return []document.Key{
		{Name: "node", Read: name(&c.Node, nodeName, "a node")},
		{Name: "state", Read: file(&c.State, folder)},
		{Name: "socket", Read: file(&c.Socket, folder)},
		{Name: "metrics", Read: listenAddress(&c.Metrics)},
		{Name: "capture", Read: c.Capture.read(folder)},
		{Name: "policies", Read: files(&c.Policies, folder)},
		{Name: "targets", Read: c.Targets.read(folder)},
		{Name: "credentials", Read: readCredentials(&c.Credentials, folder)},
		{Name: "coreDumps", Read: flag(&c.CoreDumps)},
		{Name: "identity", Read: mapping([]document.Key{{Name: "environment", Read: readEnvironment(&c.Environment)}})},
		{Name: "ca", Read: c.CA.read(folder)},
		{Name: "resolver", Read: serverAddress(&c.Resolver)},
		{Name: "maskKey", Read: file(&c.MaskKey, folder)},
		{Name: "unlisted", Read: choice(&c.Unlisted, "refuse", "observe")},
		{Name: "record", Read: mapping(c.Record.keys(folder))},
		{Name: "limits", Read: mapping(c.Limits.keys())},
		{Name: "approvals", Read: mapping(c.Approvals.keys())},
		{Name: "webhooks", Read: readWebhooks(&c.Webhooks, folder)},
		{Name: "callback", Read: c.Callback.read(folder)},
		{Name: "drift", Read: mapping(c.Drift.keys())},
	}
}

func (c *CaptureConfig) keys(folder string) []document.Key {
	return []document.Key{
		{Name: "root", Read: file(&c.Root, folder)},
		{Name: "pins", Read: file(&c.Pins, folder)},
		{Name: "onStop", Read: choice(&c.OnStop, "detach", "hold")},
		{Name: "whenDown", Read: choice(&c.WhenDown, "refuse", "bypass")},
		{Name: "unknown", Read: choice(&c.Unknown, "hold", "deny", "allow")},
		{Name: "takeover", Read: choice(&c.Takeover, "leave", "destroy")},
		{Name: "strict", Read: flag(&c.Strict)},
		{Name: "udp", Read: ports(&c.UDP)},
		{Name: "runtime", Read: file(&c.Runtime, folder)},
		{Name: "nri", Read: file(&c.NRI, folder)},
		{Name: "select", Read: func(v document.Value) { c.Select = readSelect(v) }},
		{Name: "workloads", Read: func(v document.Value) { c.Workloads = readWorkloads(v) }},
	}
}

func (c *RecordConfig) keys(folder string) []document.Key {
	return []document.Key{
		{Name: "segment", Read: c.readSegment},
		{Name: "checkpoint", Read: duration(&c.Checkpoint, time.Millisecond, time.Hour)},
		{Name: "heartbeat", Read: duration(&c.Heartbeat, 0, 24*time.Hour)},
		{Name: "key", Read: file(&c.Key, folder)},
		{Name: "checkpoints", Read: mapping(c.Checkpoints.keys(folder))},
		{Name: "floor", Read: c.Floor.read},
		{Name: "facts", Read: choice(&c.Facts, "wanted", "all")},
		{Name: "results", Read: readResults(&c.Results)},
		{Name: "encrypt", Read: c.readEncrypt},
		{Name: "retention", Read: c.readRetention},
	}
}

func (c *LimitsConfig) keys() []document.Key {
	return []document.Key{
		{Name: "statement", Read: size(&c.Statement, 1<<10, 1<<30)},
		{Name: "loops", Read: func(v document.Value) {
			if n, ok := v.Int(); ok && n > maxLoops {
				v.Problem("%d loops: at most %d; 0 is one for every two cores", n, maxLoops)
			} else if ok {
				c.Loops = n
			}
		}},
		{Name: "drain", Read: duration(&c.Drain, 0, time.Hour)},
		{Name: "handover", Read: duration(&c.Handover, 0, 365*24*time.Hour)},
	}
}

const maxLoops = 1024

func (c *ApprovalsConfig) keys() []document.Key {
	return []document.Key{
		{Name: "perWorkload", Read: count(&c.PerWorkload, 1, 10_000)},
		{Name: "pending", Read: count(&c.Pending, 1, 10_000)},
		{Name: "keep", Read: count(&c.Keep, 1, 100_000)},
		{Name: "keepFor", Read: duration(&c.KeepFor, time.Minute, 365*24*time.Hour)},
	}
}

// nodeName is what the keys of a log may be called.
var nodeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// mapping reads an inner mapping.
func mapping(keys []document.Key) func(document.Value) {
	return func(v document.Value) { v.Map(keys) }
}

// choice reads one of some words into the constant of the same position.
func choice[T ~uint8](to *T, words ...string) func(document.Value) {
	return func(v document.Value) {
		if i, ok := v.Choice(words); ok {
			*to = T(i)
		}
	}
}

// count reads a number.
func count(to *int, least, most int) func(document.Value) {
	return func(v document.Value) {
		n, ok := v.Int()
		switch {
		case !ok:
		case n < least || n > most:
			v.Problem("%d: write a number from %d to %d", n, least, most)
		default:
			*to = n
		}
	}
}

// flag reads true or false.
func flag(to *bool) func(document.Value) {
	return func(v document.Value) {
		if value, ok := v.Bool(); ok {
			*to = value
		}
	}
}

// ports reads a list of ports, in place of the default ones.
func ports(to *[]uint16) func(document.Value) {
	return func(v document.Value) {
		*to = []uint16{}
		v.List(func(v document.Value) {
			n, ok := v.Int()
			switch {
			case !ok:
			case n == 0 || n > 65535:
				v.Problem("%d is not a port: write a number from 1 to 65535", n)
			case slices.Contains(*to, uint16(n)):
				v.Problem("port %d again", n)
			default:
				*to = append(*to, uint16(n))
			}
		})
	}
}

// name reads a name that matches pattern.
func name(to *string, pattern *regexp.Regexp, what string) func(document.Value) {
	return func(v document.Value) {
		word, ok := v.Text()
		if ok && !pattern.MatchString(word) {
			v.Problem("%q cannot name %s: use letters, digits, dots, dashes and underscores", word, what)
			return
		}
		*to = word
	}
}

// file reads a path. An empty one is kept: it is no path.
func file(to *string, folder string) func(document.Value) {
	return func(v document.Value) {
		path, ok := v.Text()
		if !ok {
			return
		}
		if path != "" && !filepath.IsAbs(path) {
			path = filepath.Join(folder, path)
		}
		*to = path
	}
}

func files(to *[]string, folder string) func(document.Value) {
	return func(v document.Value) {
		v.List(func(v document.Value) {
			var path string
			file(&path, folder)(v)
			switch {
			case path == "":
			case slices.Contains(*to, path):
				v.Problem("%q again", path)
			default:
				*to = append(*to, path)
			}
		})
	}
}

// serverAddress reads the address of a server, "" for none.
func serverAddress(to *string) func(document.Value) {
	return func(v document.Value) {
		text, ok := v.Text()
		if !ok {
			return
		}
		if _, err := netip.ParseAddrPort(text); text != "" && err != nil {
			v.Problem(`%q is not the address of a server: write "10.0.0.10:53", or "" for those of /etc/resolv.conf`, text)
			return
		}
		*to = text
	}
}

// listenAddress reads where to listen.
func listenAddress(to *string) func(document.Value) {
	return func(v document.Value) {
		text, ok := v.Text()
		if !ok {
			return
		}
		if text != "" {
			_, port, err := net.SplitHostPort(text)
			if _, e := strconv.ParseUint(port, 10, 16); err != nil || e != nil {
				v.Problem(`%q is not an address to listen at: write "127.0.0.1:9464", or "" for none`, text)
				return
			}
		}
		*to = text
	}
}
