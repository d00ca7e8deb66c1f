package agentd

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"

	"agentd.dev/agentd/certs"
	"agentd.dev/agentd/credentials"
	"agentd.dev/agentd/webhook"
	"agentd.dev/policy/document"
)

// A WebhookConfig is somewhere that people are told of what they want to know
// soon.
type WebhookConfig struct {
	Name    string
	URL     string // one of the two
	URLFile string
	Secret  string // file, "" to sign nothing
	On      webhook.Kinds
	CA      string // file, "" for what the system trusts
	As      string // the approver whose it is alone, "" if many read it

	roots *certs.Roots
	at    *document.Value // while it is read: where As stands
}

// minHookSecret is how long a secret to sign with must be, in bytes.
const minHookSecret = 16

// readWebhooks reads the list of webhooks.
func readWebhooks(to *[]WebhookConfig, folder string) func(document.Value) {
	return func(v document.Value) {
		v.List(func(v document.Value) {
			c := WebhookConfig{On: webhook.Approval | webhook.Alert | webhook.Record | webhook.Reload}
			v.Map(c.keys(folder))
			c.fits(v)
			if slices.ContainsFunc(*to, func(other WebhookConfig) bool { return other.Name == c.Name && c.Name != "" }) {
				v.Problem("webhook %q again: names must differ", c.Name)
			}
			*to = append(*to, c)
		})
	}
}

func (c *WebhookConfig) keys(folder string) []document.Key {
	return []document.Key{
		{Name: "name", Required: true, Read: name(&c.Name, targetName, "a webhook")},
		{Name: "url", Read: readURL(&c.URL)},
		{Name: "urlFile", Read: file(&c.URLFile, folder)},
		{Name: "secret", Read: secretFile(&c.Secret, folder)},
		{Name: "on", Read: func(v document.Value) {
			c.On = 0
			v.List(func(v document.Value) {
				if i, ok := v.Choice(webhook.Names); ok {
					c.On |= 1 << i
				}
			})
			if c.On == 0 {
				v.Problem("it is told of nothing: list some of %s", document.List(webhook.Names))
			}
		}},
		{Name: "ca", Read: file(&c.CA, folder)},
		{Name: "as", Read: func(v document.Value) {
			name(&c.As, targetName, "an approver")(v)
			c.at = &v
		}},
	}
}

func (c *WebhookConfig) fits(v document.Value) {
	if (c.URL == "") == (c.URLFile == "") {
		v.Problem("give one of `url` and `urlFile`")
	}
	if c.CA == "" {
		return
	}
	var err error
	if c.roots, err = certs.OpenRoots(c.CA); err != nil {
		v.Problem("`ca`: %v", err)
	}
}

// settleHooks reports webhooks of approvers that are none, once all is read.
func (c *Config) settleHooks() {
	for i := range c.Webhooks {
		h := &c.Webhooks[i]
		if h.at != nil && !slices.ContainsFunc(c.Callback.Approvers, func(a ApproverConfig) bool { return a.Name == h.As }) {
			h.at.Problem("no approver is called %q: list who decides under `callback`, `approvers`", h.As)
		}
		h.at = nil
	}
}

// readURL reads where something is sent to.
func readURL(to *string) func(document.Value) {
	return func(v document.Value) {
		text, ok := v.Text()
		if !ok {
			return
		}
		if err := checkHookURL(text); err != nil {
			v.Problem("%v", err)
			return
		}
		*to = text
	}
}

// checkHookURL says what is wrong with where a webhook is. What agents did is
// nobody's business on the way: without TLS it goes to this machine alone.
func checkHookURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "":
		return fmt.Errorf("that is no URL: write it as https://hooks.example/agentd")
	case u.Scheme == "https":
		return nil
	case u.Scheme != "http":
		return fmt.Errorf("%q is not a way to tell people: write an https:// URL", u.Scheme)
	}
	addr, err := netip.ParseAddr(u.Hostname())
	if u.Hostname() != "localhost" && (err != nil || !addr.IsLoopback()) {
		return fmt.Errorf("http:// shows statements to whoever is on the way: write https://, or an address of this machine")
	}
	return nil
}

// secretFile reads where a secret is. One that stands there itself is not
// repeated in the problem that it is.
func secretFile(to *string, folder string) func(document.Value) {
	return func(v document.Value) {
		if !v.IsMap() {
			v.Problem("a secret does not belong in this file: say where it is, as {file: /run/secrets/webhook}")
			return
		}
		v.Map([]document.Key{{Name: "file", Required: true, Read: file(to, folder)}})
	}
}

// hooks are the webhooks of a configuration.
func (c *Config) hooks() (hooks []webhook.Hook) {
	for i := range c.Webhooks {
		hooks = append(hooks, c.Webhooks[i].hook())
	}
	return hooks
}

func (c WebhookConfig) hook() webhook.Hook {
	h := webhook.Hook{Name: c.Name, On: c.On, As: c.As, URL: func() (string, error) { return c.URL, nil }}
	if c.URLFile != "" {
		h.URL = func() (string, error) {
			text, err := credentials.ReadSecret("URL", c.URLFile)
			if err == nil {
				err = checkHookURL(text)
			}
			return text, err
		}
	}
	if c.Secret != "" {
		h.Secret = func() ([]byte, error) {
			text, err := credentials.ReadSecret("secret", c.Secret)
			if err == nil && len(text) < minHookSecret {
				err = fmt.Errorf("%s: a secret of %d bytes: at least %d", c.Secret, len(text), minHookSecret)
			}
			return []byte(text), err
		}
	}
	if c.roots != nil {
		h.Roots = c.roots
	}
	return h
}
