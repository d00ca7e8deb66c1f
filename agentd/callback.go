package agentd

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"agentd.dev/agentd/callback"
	"agentd.dev/agentd/certs"
	"agentd.dev/agentd/credentials"
	"agentd.dev/policy/document"
)

// A CallbackConfig says where people who are not on the node decide, and who
// they are.
type CallbackConfig struct {
	Listen    string // "" for nowhere
	URL       string // by which people reach that, "" to put no links in notices
	Cert, Key string // files
	Approvers []ApproverConfig

	pair *certs.Pair
}

// An ApproverConfig is somebody who may decide.
type ApproverConfig struct {
	Name   string
	Token  string // file
	UID    *uint32
	Groups []string
}

func (c *CallbackConfig) keys(folder string) []document.Key {
	return []document.Key{
		{Name: "listen", Read: listenAddress(&c.Listen)},
		{Name: "url", Read: func(v document.Value) {
			text, ok := v.Text()
			u, err := url.Parse(text)
			switch {
			case !ok || text == "":
			case err != nil || u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
				v.Problem("%q is not where people decide: write https:// and a host, as https://agentd.example:9470", text)
			default:
				c.URL = strings.TrimSuffix(text, "/")
			}
		}},
		{Name: "cert", Read: file(&c.Cert, folder)},
		{Name: "key", Read: file(&c.Key, folder)},
		{Name: "approvers", Read: readApprovers(&c.Approvers, folder)},
	}
}

func (c *CallbackConfig) read(folder string) func(document.Value) {
	return func(v document.Value) {
		v.Map(c.keys(folder))
		switch {
		case c.Listen == "" && c.Cert == "" && c.Key == "" && c.URL == "" && len(c.Approvers) == 0:
			return
		case c.Listen == "":
			v.Problem("nobody can reach it: give `listen`, as 0.0.0.0:9470")
		case c.Cert == "" || c.Key == "":
			v.Problem("tokens go over TLS alone: give `cert` and `key`")
		case len(c.Approvers) == 0:
			v.Problem("nobody could decide: list `approvers`")
		default:
			var err error
			if c.pair, err = certs.OpenPair(c.Cert, c.Key); err != nil {
				v.Problem("`cert` and `key`: %v", err)
			}
		}
	}
}

func readApprovers(to *[]ApproverConfig, folder string) func(document.Value) {
	return func(v document.Value) {
		v.List(func(v document.Value) {
			var a ApproverConfig
			v.Map(a.keys(folder))
			if slices.ContainsFunc(*to, func(other ApproverConfig) bool { return other.Name == a.Name && a.Name != "" }) {
				v.Problem("approver %q again: names must differ", a.Name)
			}
			*to = append(*to, a)
		})
	}
}

func (a *ApproverConfig) keys(folder string) []document.Key {
	return []document.Key{
		{Name: "name", Required: true, Read: name(&a.Name, targetName, "an approver")},
		{Name: "token", Required: true, Read: secretFile(&a.Token, folder)},
		{Name: "uid", Read: func(v document.Value) {
			n, ok := v.Int()
			switch uid := uint32(n); {
			case !ok:
			case n >= 1<<32-1:
				v.Problem("%d is no user id", n)
			default:
				a.UID = &uid
			}
		}},
		{Name: "groups", Read: func(v document.Value) {
			v.List(func(v document.Value) {
				var group string
				name(&group, targetName, "a group")(v)
				if group != "" {
					a.Groups = append(a.Groups, group)
				}
			})
		}},
	}
}

// approvers are those of the configuration in force.
func (d *Daemon) approvers() (list []callback.Approver) {
	for _, a := range d.inForce.Load().config.Callback.Approvers {
		list = append(list, callback.Approver{
			Name: a.Name, UID: a.UID, Groups: a.Groups,
			Token: func() (string, error) { return credentials.ReadSecret("token", a.Token) },
		})
	}
	return list
}

// listenAgain is how long it takes until a listener that could not be had is
// tried for again.
const listenAgain = 2 * time.Second

// answerCallbacks lets people decide who are not on the node, until ctx ends.
//
// That nobody can reach it keeps nothing else from working: agentctl decides,
// too, and what nobody decides about is never let through. It is tried again
// until it works, as when another agentd has the address still.
func (d *Daemon) answerCallbacks(ctx context.Context) error {
	c := &d.config.Callback
	if c.Listen == "" {
		return nil
	}
	said := ""
	for ctx.Err() == nil {
		err := d.answerCallbacksOnce(ctx, c)
		if err != nil && err.Error() != said {
			said = err.Error()
			d.log.Error("nobody can decide at the callback address; agentctl can", "address", c.Listen, "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(listenAgain):
		}
	}
	return nil
}

func (d *Daemon) answerCallbacksOnce(ctx context.Context, c *CallbackConfig) error {
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return err
	}
	d.log.Info("people can decide at", "address", l.Addr().String())
	server := callback.Server{
		Log: d.log, Desk: d.desk, Links: d.links, Approvers: d.approvers,
		Certificate: func() (*tls.Certificate, error) {
			pair := d.inForce.Load().config.Callback.pair
			if pair == nil {
				return nil, errors.New("there is no certificate")
			}
			return pair.Certificate()
		},
	}
	return server.Serve(ctx, l)
}
