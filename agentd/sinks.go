package agentd

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"agentd.dev/agentd/certs"
	"agentd.dev/agentd/control"
	"agentd.dev/agentd/credentials"
	"agentd.dev/agentd/sinks"
	"agentd.dev/policy/document"
	"agentd.dev/recorder"
)

// A SinkConfig is somewhere that the record is handed on to. It holds from the next
// reading of the file on.
type SinkConfig struct {
	sinks.Config

	// secrets are where its secrets are, each under the name it is fetched by, and
	// store what fetches them, once the daemon uses the sink.
	secrets []credentials.Credential
	store   *sinkStore
}

// A sinkStore is what the secrets of a sink are fetched by.
type sinkStore struct{ *credentials.Store }

// addSinks adds the counters of sinks.
func (d *Daemon) addSinks(s *control.Snapshot) {
	for _, m := range []*map[string]int64{&s.SinkDelivered, &s.SinkRefused, &s.SinkMissed, &s.SinkFailures, &s.SinkBehind, &s.SinkLag} {
		*m = map[string]int64{}
	}
	for name, state := range d.sinks.States() {
		s.SinkDelivered[name], s.SinkRefused[name], s.SinkMissed[name] = state.Delivered, state.Refused, state.Missed
		s.SinkFailures[name], s.SinkBehind[name], s.SinkLag[name] = state.Failures, state.Behind, int64(state.Lag/time.Second)
	}
}

// sinkStatus is how the sinks are.
func (d *Daemon) sinkStatus() []control.Sink {
	list := []control.Sink{}
	states := d.sinks.States()
	for _, name := range slices.Sorted(maps.Keys(states)) {
		s := states[name]
		list = append(list, control.Sink{
			Name: name, Kind: s.Kind, Delivered: s.Delivered, Refused: s.Refused, Missed: s.Missed,
			Behind: s.Behind, Lag: control.Seconds(s.Lag / time.Second), Problem: s.Problem,
		})
	}
	return list
}

// openSinks makes what hands the record on. Only the process that writes the log
// does: sinks end before another takes over.
func (d *Daemon) openSinks() *sinks.Set {
	return sinks.New(sinks.Options{
		Node: d.config.Node, Version: Version, Log: d.config.logFolder(), State: filepath.Join(d.config.State, "sinks"),
		Signed: func() int64 { return d.recorder.Stats().SignedSize },
		Latest: d.recorder.Latest,
		Whole: func(segment int64) bool {
			folder, err := recorder.OpenFolder(d.config.logFolder())
			return err == nil && folder.Settled(segment, len(d.config.Record.Encrypt) > 0)
		},
		Logger: d.log,
	})
}

// handOn hands the record on until another agentd takes over. When agentd stops,
// closeSinks ends that, once the last record is written.
func (d *Daemon) handOn(ctx context.Context) error {
	d.sinks.Begin()
	<-ctx.Done()
	if errors.Is(context.Cause(ctx), errSuccessor) {
		d.sinks.Rest(0)
	}
	return nil
}

func (d *Daemon) closeSinks() error {
	d.sinks.Rest(lastNotices)
	return nil
}

// useSinks makes the sinks of a configuration those in use.
func (d *Daemon) useSinks(c *Config) {
	var secrets []credentials.Credential
	var list []sinks.Config
	for i := range c.Sinks {
		secrets = append(secrets, c.Sinks[i].secrets...)
		c.Sinks[i].store.Store = &d.sinkSecrets
		list = append(list, c.Sinks[i].Config)
	}
	d.sinkSecrets.Use(secrets)
	d.sinks.Use(list)
}

// Types of records that sinks can ask for, and verdicts.
var (
	recordTypes = []string{
		"start", "stop", "recovered", "gap", "heartbeat", "note", "interrupted", "resumed", "open", "tls", "login", "prepare",
		"request", "cancel", "result", "own", "rows", "outcome", "close",
	}
	verdictNames = []string{"allow", "mask", "deny", "close", "hold"}
	facilities   = []string{
		"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp", "audit",
		"alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
	}
	// sdID is a name of structured data that is nobody else's: RFC 5424, 7.
	sdID       = regexp.MustCompile(`^[!#-<>-\\^-~]{1,20}@[0-9.]{1,10}$`)
	headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
	bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
)

// readSinks reads the list of sinks.
func readSinks(to *[]SinkConfig, folder string) func(document.Value) {
	return func(v document.Value) {
		v.List(func(v document.Value) {
			c := SinkConfig{store: new(sinkStore)}
			v.Map(c.keys(folder))
			given := 0
			for _, there := range []bool{c.OTLP != nil, c.Syslog != nil, c.Webhook != nil, c.Objects != nil} {
				if there {
					given++
				}
			}
			if given != 1 {
				v.Problem("say where it goes: give one of `otlp`, `syslog`, `webhook` and `objects`")
			}
			if c.Objects != nil && (c.Types != nil || c.Verdicts != nil || c.NoText) {
				v.Problem("`objects` brings whole files: leave `types`, `verdicts` and `text` out")
			}
			if slices.ContainsFunc(*to, func(other SinkConfig) bool { return other.Name == c.Name && c.Name != "" }) {
				v.Problem("sink %q again: names must differ", c.Name)
			}
			*to = append(*to, c)
		})
	}
}

func (c *SinkConfig) keys(folder string) []document.Key {
	return []document.Key{
		{Name: "name", Required: true, Read: name(&c.Name, targetName, "a sink")},
		{Name: "types", Read: words(&c.Types, recordTypes)},
		{Name: "verdicts", Read: words(&c.Verdicts, verdictNames)},
		{Name: "from", Read: func(v document.Value) {
			if i, ok := v.Choice([]string{"now", "start"}); ok {
				c.FromStart = i == 1
			}
		}},
		{Name: "text", Read: func(v document.Value) {
			if i, ok := v.Choice([]string{"full", "none"}); ok {
				c.NoText = i == 1
			}
		}},
		{Name: "otlp", Read: func(v document.Value) {
			c.OTLP = new(sinks.OTLP)
			v.Map(c.otlpKeys(folder))
			tlsFits(v, &c.OTLP.TLS)
		}},
		{Name: "syslog", Read: func(v document.Value) {
			c.Syslog = &sinks.Syslog{Facility: slices.Index(facilities, "audit"), ID: "agentd@32473", Max: 8 << 10}
			v.Map(c.syslogKeys(folder))
			tlsFits(v, &c.Syslog.TLS)
		}},
		{Name: "webhook", Read: func(v document.Value) {
			c.Webhook = new(sinks.Webhook)
			v.Map(c.webhookKeys(folder))
			if c.Webhook.URL == nil {
				v.Problem("give one of `url` and `urlFile`")
			}
			tlsFits(v, &c.Webhook.TLS)
		}},
		{Name: "objects", Read: func(v document.Value) {
			c.Objects = new(sinks.Objects)
			v.Map(c.objectsKeys(folder))
			tlsFits(v, &c.Objects.TLS)
		}},
	}
}

func (c *SinkConfig) otlpKeys(folder string) []document.Key {
	o := c.OTLP
	return append(tlsKeys(&o.TLS, folder), []document.Key{
		{Name: "url", Required: true, Read: sinkURL(&o.URL)},
		{Name: "header", Read: func(v document.Value) { v.Map(c.headerKeys(folder)) }},
	}...)
}

func (c *SinkConfig) headerKeys(folder string) []document.Key {
	h := &c.OTLP.Header
	return []document.Key{
		{Name: "name", Required: true, Read: name(&h.Name, headerName, "a header")},
		{Name: "value", Required: true, Read: c.secret("value", &h.Value, &h.Source, folder)},
	}
}

func (c *SinkConfig) syslogKeys(folder string) []document.Key {
	s := c.Syslog
	most := Size(s.Max)
	return append(tlsKeys(&s.TLS, folder), []document.Key{
		{Name: "address", Required: true, Read: func(v document.Value) {
			text, ok := v.Text()
			if !ok {
				return
			}
			host, port, err := net.SplitHostPort(text)
			if _, e := strconv.ParseUint(port, 10, 16); err != nil || e != nil || host == "" {
				v.Problem("%q is not where a server is: write it as logs.example:6514", text)
				return
			}
			s.Address = text
		}},
		{Name: "facility", Read: func(v document.Value) {
			if i, ok := v.Choice(facilities); ok {
				s.Facility = i
			}
		}},
		{Name: "id", Read: name(&s.ID, sdID, "structured data (write NAME@NUMBER, the number being that of your enterprise)")},
		{Name: "max", Read: func(v document.Value) {
			size(&most, 2<<10, 1<<20)(v)
			s.Max = int(most)
		}},
	}...)
}

func (c *SinkConfig) webhookKeys(folder string) []document.Key {
	h := c.Webhook
	return append(tlsKeys(&h.TLS, folder), []document.Key{
		{Name: "url", Read: func(v document.Value) {
			if sinkURL(&h.Where)(v); h.Where != "" {
				where := h.Where
				h.URL = func(context.Context) (string, error) { return where, nil }
			}
		}},
		{Name: "urlFile", Read: func(v document.Value) {
			if h.URL != nil {
				v.Problem("both `url` and `urlFile`: give one")
				return
			}
			file(&h.Where, folder)(v)
			where := h.Where
			h.URL = func(context.Context) (string, error) {
				text, err := credentials.ReadSecret("URL", where)
				if err == nil {
					err = checkHookURL(text)
				}
				return text, err
			}
		}},
		{Name: "secret", Read: c.secret("secret", &h.Secret, &h.Sign, folder)},
	}...)
}

func (c *SinkConfig) objectsKeys(folder string) []document.Key {
	o := c.Objects
	var source string
	retain := Duration(0)
	return append(tlsKeys(&o.TLS, folder), []document.Key{
		{Name: "endpoint", Required: true, Read: func(v document.Value) {
			sinkURL(&o.Endpoint)(v)
			if u, err := url.Parse(o.Endpoint); err == nil && strings.Trim(u.Path, "/") != "" {
				v.Problem("an endpoint has no path: the bucket is named by `bucket`")
			}
		}},
		{Name: "bucket", Required: true, Read: name(&o.Bucket, bucketName, "a bucket")},
		{Name: "prefix", Read: func(v document.Value) { o.Prefix, _ = v.Text() }},
		{Name: "region", Read: func(v document.Value) { o.Region, _ = v.Text() }},
		{Name: "accessKey", Required: true, Read: func(v document.Value) {
			c.secret("accessKey", &o.Access, &source, folder)(v)
			o.Keys += source + ", "
		}},
		{Name: "secretKey", Required: true, Read: func(v document.Value) {
			c.secret("secretKey", &o.Secret, &source, folder)(v)
			o.Keys += source
		}},
		{Name: "retain", Read: func(v document.Value) {
			duration(&retain, time.Hour, 100*365*24*time.Hour)(v)
			o.Retain = time.Duration(retain)
		}},
		{Name: "mode", Read: func(v document.Value) {
			if i, ok := v.Choice([]string{"governance", "compliance"}); ok {
				o.Compliance = i == 1
			}
		}},
	}...)
}

// secret reads where a secret of a sink is. It is fetched when it is needed.
func (c *SinkConfig) secret(what string, to *sinks.Secret, source *string, folder string) func(document.Value) {
	return func(v document.Value) {
		place := credentials.Credential{User: "sink"}
		readPassword(&place, folder)(v)
		*source = cmp.Or(place.File, place.Env)
		if place.Exec != nil {
			*source = strings.Join(place.Exec.Command, " ")
		}
		place.Name = what + " of " + *source
		c.secrets = append(c.secrets, place)
		*to = func(ctx context.Context) (string, error) {
			login, err := c.store.Fetch(ctx, place.Name)
			return login.Password.Reveal(), err
		}
	}
}

// sinkURL reads a URL that holds no secret.
func sinkURL(to *string) func(document.Value) {
	return func(v document.Value) {
		var text string
		if readURL(&text)(v); text == "" {
			return
		}
		if u, _ := url.Parse(text); u.User != nil {
			v.Problem("a password does not belong in this file: leave out what is before the @")
			return
		}
		*to = text
	}
}

// words reads a list of some words.
func words(to *[]string, all []string) func(document.Value) {
	return func(v document.Value) {
		listed := false
		v.List(func(v document.Value) {
			listed = true
			if i, ok := v.Choice(all); ok {
				*to = append(*to, all[i])
			}
		})
		if !listed && v.IsList() {
			v.Problem("it gets nothing: list some of %s", document.List(all))
		}
	}
}

// tlsKeys are the keys by which a sink knows whom it talks to.
func tlsKeys(t *sinks.TLS, folder string) []document.Key {
	return []document.Key{
		{Name: "ca", Read: file(&t.CA, folder)},
		{Name: "cert", Read: file(&t.Cert, folder)},
		{Name: "key", Read: file(&t.Key, folder)},
	}
}

// tlsFits opens the files of t.
func tlsFits(v document.Value, t *sinks.TLS) {
	if t.CA != "" {
		roots, err := certs.OpenRoots(t.CA)
		if err != nil {
			v.Problem("`ca`: %v", err)
		}
		t.Roots = roots
	}
	switch {
	case (t.Cert == "") != (t.Key == ""):
		v.Problem("`cert` and `key` go together")
	case t.Cert != "":
		pair, err := certs.OpenPair(t.Cert, t.Key)
		if err != nil {
			v.Problem("`cert`: %v", err)
		}
		t.Pair = pair
	}
}
