package agentd

import (
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"agentd.dev/agentd/credentials"
	"agentd.dev/decoders"
	"agentd.dev/decoders/all"
	"agentd.dev/policy/document"
)

// A LoginConfig says how agentd logs in to a target in its clients' place.
type LoginConfig struct {
	Credential string // where no rule says another one; "": the clients' own logins are passed on
	Label      Label

	at *document.Value // while it is read: where Credential stands
}

// Label is what agentd puts before a session's application_name where it logs
// in itself, so that the server's own log says whose session it is.
type Label uint8

const (
	LabelWorkload Label = iota // agentd/WORKLOAD
	LabelSession               // agentd/WORKLOAD/SESSION, of which the first characters
	LabelOff
)

func (c *LoginConfig) keys() []document.Key {
	return []document.Key{
		{Name: "credential", Read: func(v document.Value) {
			name(&c.Credential, credentialName, "a credential")(v)
			c.at = &v
		}},
		{Name: "label", Read: choice(&c.Label, "workload", "session", "off")},
	}
}

// settle reports credentials of targets that are none, once all is read.
func (t Targets) settle(list []credentials.Credential) {
	names := credentialNames(list)
	for i := range t {
		c := &t[i].Login
		switch p, _ := all.Lookup(t[i].Protocol); {
		case c.at == nil || c.Credential == "":
		case !slices.Contains(names, c.Credential):
			c.at.Problem("no credential is called %q%s", c.Credential, credentialAdvice(c.Credential, names))
		case t[i].Protocol != "" && !p.LogsIn:
			c.at.Problem("agentd cannot log in to a target of protocol %s", t[i].Protocol)
		case t[i].ranges() && t[i].TLS.Server != ServerVerifyFull:
			c.at.Problem("agentd logs in to one server, and %s is many: list each address as a target, or name a `host`, or set `server: verify-full` under `tls`", t[i].Prefix)
		}
		c.at = nil
	}
}

// ranges reports whether t is a range of addresses. Any machine in it could be
// the server, that of an agent, too: a password is taken only to one that shows
// by its certificate that it is none of those.
func (t *TargetConfig) ranges() bool { return t.Prefix.IsValid() && !t.Prefix.IsSingleIP() }

func credentialAdvice(name string, names []string) string {
	if len(names) == 0 {
		return ": list it under `credentials`"
	}
	return document.Choices(name, names)
}

func credentialNames(list []credentials.Credential) (names []string) {
	for i := range list {
		names = append(names, list[i].Name)
	}
	return names
}

// credentialName is also what may stand in messages to clients.
var (
	credentialName = targetName
	variableName   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// readCredentials reads the list of credentials.
func readCredentials(to *[]credentials.Credential, folder string) func(document.Value) {
	return func(v document.Value) {
		v.List(func(v document.Value) {
			var c credentials.Credential
			v.Map(credentialKeys(&c, folder))
			switch {
			case c.Name != "" && slices.Contains(credentialNames(*to), c.Name):
				v.Problem("credential %q again: names must differ", c.Name)
			case c.User != "" && c.UserFile != "":
				v.Problem("both `user` and `userFile`: one says who to log in as")
			case c.User == "" && c.UserFile == "" && c.Exec == nil:
				v.Problem("nobody to log in as: give `user`, or `userFile`, or a helper that says it")
			}
			*to = append(*to, c)
		})
	}
}

func credentialKeys(c *credentials.Credential, folder string) []document.Key {
	return []document.Key{
		{Name: "name", Required: true, Read: name(&c.Name, credentialName, "a credential")},
		{Name: "user", Read: func(v document.Value) {
			if c.User, _ = v.Text(); c.User == "" || len(c.User) > 63 {
				v.Problem("%q cannot be a user: give a name of 1 to 63 bytes", c.User)
			}
		}},
		{Name: "userFile", Read: file(&c.UserFile, folder)},
		{Name: "password", Read: readPassword(c, folder)},
		{Name: "methods", Read: func(v document.Value) {
			v.List(func(v document.Value) {
				if i, ok := v.Choice([]string{"md5", "password"}); ok {
					c.Methods |= decoders.Methods(1) << i
				}
			})
		}},
		{Name: "passwords", Read: func(v document.Value) {
			if i, ok := v.Choice([]string{"deny", "allow"}); ok {
				c.Passwords = i == 1
			}
		}},
	}
}

// readPassword reads where a password is. One that stands there itself is not
// repeated in the problem that it is: configurations are shown around.
func readPassword(c *credentials.Credential, folder string) func(document.Value) {
	return func(v document.Value) {
		if !v.IsMap() {
			v.Problem("a password does not belong in this file: say where it is, with `file`, `env` or `exec`")
			return
		}
		given := 0
		keys := passwordKeys(c, folder)
		for i := range keys {
			read := keys[i].Read
			keys[i].Read = func(v document.Value) { given++; read(v) }
		}
		v.Map(keys)
		if given != 1 {
			v.Problem("give one of `file`, `env` and `exec`; leave `password` out where there is none")
		}
	}
}

// passwordKeys are the places where a password can be.
func passwordKeys(c *credentials.Credential, folder string) []document.Key {
	return []document.Key{
		{Name: "file", Read: file(&c.File, folder)},
		{Name: "env", Read: variable(&c.Env)},
		{Name: "exec", Read: func(v document.Value) {
			c.Exec = &credentials.Helper{Timeout: credentials.DefaultTimeout, Every: credentials.DefaultEvery}
			v.Map(helperKeys(c.Exec, folder))
		}},
	}
}

// variable reads the name of a variable of the environment.
func variable(to *string) func(document.Value) {
	return func(v document.Value) {
		word, ok := v.Text()
		if ok && !variableName.MatchString(word) {
			v.Problem("%q cannot name a variable: use letters, digits and underscores", word)
			return
		}
		*to = word
	}
}

func helperKeys(h *credentials.Helper, folder string) []document.Key {
	timeout, every := Duration(h.Timeout), Duration(h.Every)
	return []document.Key{
		{Name: "command", Required: true, Read: func(v document.Value) {
			v.List(func(v document.Value) {
				word, _ := v.Text()
				h.Command = append(h.Command, word)
			})
			if len(h.Command) == 0 || h.Command[0] == "" {
				h.Command = []string{"?"}
				v.Problem("name a program and its arguments, as [/usr/local/bin/db-token, orders]")
				return
			}
			if !filepath.IsAbs(h.Command[0]) {
				h.Command[0] = filepath.Join(folder, h.Command[0])
			}
		}},
		{Name: "timeout", Read: func(v document.Value) {
			duration(&timeout, 100*time.Millisecond, time.Minute)(v)
			h.Timeout = time.Duration(timeout)
		}},
		{Name: "every", Read: func(v document.Value) {
			duration(&every, time.Second, 24*time.Hour)(v)
			h.Every = time.Duration(every)
		}},
		{Name: "environment", Read: func(v document.Value) {
			v.List(func(v document.Value) {
				var word string
				variable(&word)(v)
				h.Environment = append(h.Environment, word)
			})
		}},
	}
}
