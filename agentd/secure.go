package agentd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"agentd.dev/agentd/capture"
	"agentd.dev/agentd/certs"
	"agentd.dev/agentd/legs"
	"agentd.dev/agentd/names"
	"agentd.dev/agentd/relay"
	"agentd.dev/decoders"
	"agentd.dev/policy"
	"agentd.dev/recorder"
)

// clientTimeout is how long a client may take until TLS, or what comes in its
// place, has begun.
const clientTimeout = 10 * time.Second

// A securing is how one session's legs come to TLS.
type securing struct {
	daemon  *Daemon
	how     *decoders.Secure
	config  TLSConfig
	host    string // the target's, as configured
	session *policy.Session
	asked   string // the host that the client asked for in TLS

	binding []byte // the hash of the server's certificate, for Account.Binding
	// refusal is why the session cannot go on, to be told to the client.
	refusal *policy.Verdict
}

// secure returns how the legs of a session come to TLS. Nil: never, and its
// methods may be called.
func (d *Daemon) secure(protocol decoders.Protocol, s *policy.Session) (*securing, error) {
	if protocol.Secure == nil || s.Target.Name == unlistedName {
		return nil, nil
	}
	t, listed := d.targets().named(s.Target.Name)
	if !listed {
		return nil, errUnlisted // since it was looked up
	}
	return &securing{daemon: d, how: protocol.Secure, config: t.TLS, host: t.Host, session: s}, nil
}

// client brings the client to TLS, where it may have that. It is waited for in a
// greeting, not in its place. An error is why there is no session.
func (s *securing) client(ctx context.Context, end *legs.End, place place, workload uint64) error {
	if s == nil || s.config.Client == ClientOff {
		return nil
	}
	leave, ok := s.daemon.greetings.enter(workload)
	if !ok {
		return fmt.Errorf("%w: %w", errTLS, errGreetings)
	}
	place.leave()
	wants, err := end.Client(ctx, time.Now().Add(clientTimeout), s.how, s.clientConfig())
	leave()
	place.take()
	switch {
	case errors.Is(context.Cause(ctx), errStopping):
		return errStopping
	case err != nil:
		return fmt.Errorf("%w: %w", errTLS, explain(err))
	}
	if state := end.TLS(); state != nil {
		s.session.Scope = policy.Intercepted
		s.session.ClientTLS = agreed(state)
		s.session.ClientTLS.Name = s.asked
	}
	if wants == decoders.Unsecured && s.config.Client == ClientRequire {
		s.refuse("The target "+s.session.Target.Name+" is reached over TLS only.",
			"Set sslmode=require; or verify-full, with the CA that `agentctl ca export` prints as sslrootcert.")
	}
	return nil
}

// clientConfig says who agentd is to the client: the host that it asks for in
// TLS, or else asked DNS for, at the address it connects to.
func (s *securing) clientConfig() *tls.Config {
	target := &s.session.Target
	return &tls.Config{
		MinVersion:                  tls.VersionTLS12,
		NextProtos:                  []string{s.how.ALPN},
		SessionTicketsDisabled:      true, // they would outlive the certificate
		DynamicRecordSizingDisabled: true,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			name := strings.ToLower(hello.ServerName)
			if !names.IsHost(name) {
				name = ""
			}
			s.asked = name
			switch {
			case name != "":
			case names.IsHost(target.Host):
				name = target.Host
			default:
				name = target.Name
			}
			return s.daemon.inForce.Load().ca.Leaf(name, target.Address.Addr())
		},
	}
}

// explain says of an error with a client what it means, where that helps.
func explain(err error) error {
	switch {
	case strings.Contains(legs.Alert(err), "certificate"):
		return fmt.Errorf("the client does not trust agentd's certificate: give it the CA that `agentctl ca export` prints: %w", err)
	case err.Error() == "local error: tls: bad record MAC": // OpenSSL sends its alert in the clear
		return errors.New("the client broke the handshake off, as those do that do not trust agentd's certificate: give it the CA that `agentctl ca export` prints")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errors.New("the client took too long")
	case errors.Is(err, io.EOF):
		return errors.New("the client hung up")
	}
	return err
}

// reach connects to where conn was going, as the target's configuration asks. A
// session that is refused goes nowhere. An error is why there is none at all.
func (d *Daemon) reach(ctx context.Context, conn capture.Conn, s *securing) (*legs.End, error) {
	if s.refused() {
		return legs.Nowhere()
	}
	deadline := time.Now().Add(dialTimeout) // of both
	fd, err := d.dial(ctx, conn)
	if err != nil {
		return nil, err
	}
	end := legs.Plain(fd)
	if s == nil || s.config.Server == ServerDisable {
		return end, nil
	}
	if err := s.server(ctx, end, deadline); err != nil {
		end.Reset()
		return nil, err
	}
	if s.refusal != nil {
		end.Reset()
		return legs.Nowhere()
	}
	return end, nil
}

// server brings the server to TLS. That it does not come to what the
// configuration asks for is a refusal.
func (s *securing) server(ctx context.Context, end *legs.End, deadline time.Time) error {
	verify, err := s.verification()
	if err != nil {
		s.refuse("agentd cannot tell whether the server is the right one: "+err.Error(), askOperator)
		return nil
	}
	yes, err := end.Server(ctx, deadline, s.how, verify.config())
	mode := serverTLS[s.config.Server]
	switch {
	case errors.Is(context.Cause(ctx), errStopping):
		return errStopping
	case errors.Is(err, legs.ErrSilent):
		return fmt.Errorf("%w: it does not answer whether it has TLS: %w", errDial, err)
	case err != nil:
		s.refuse(fmt.Sprintf("TLS between agentd and the server did not come about (tls.server is %s): %v", mode, err), verify.hint(err))
	case !yes && s.config.Server != ServerPrefer:
		s.refuse(fmt.Sprintf("The server has no TLS, and agentd goes to it over TLS only (tls.server is %s).", mode),
			"Turn on TLS at the server, or ask the operator of this node to set `server: prefer` under the target's `tls`.")
	case yes:
		state := end.TLS()
		s.session.Scope = policy.Intercepted
		s.session.ServerTLS = agreed(state)
		verify.describe(s.session.ServerTLS, state.PeerCertificates[0])
		s.binding = certs.EndPoint(state.PeerCertificates[0])
	}
	return nil
}

const askOperator = "Ask the operator of this node."

// refuse makes the session one that ends at the client's login, with words.
func (s *securing) refuse(reason, hint string) {
	s.refusal = &policy.Verdict{Outcome: policy.Refuse, Rule: "tls", Reason: reason, Hint: hint}
}

func agreed(state *tls.ConnectionState) *policy.TLS {
	return &policy.TLS{Version: tls.VersionName(state.Version), Cipher: tls.CipherSuiteName(state.CipherSuite)}
}

// refused reports whether the session goes nowhere.
func (s *securing) refused() bool { return s != nil && s.refusal != nil }

// bind tells a session's judge what came of TLS.
func (s *securing) bind(j *judge) {
	if s == nil {
		return
	}
	j.refused = s.refusal
	j.want.Secured = [2]bool{decoders.FromClient: s.session.ClientTLS != nil, decoders.FromServer: s.session.ServerTLS != nil}
	if j.want.Account != nil {
		j.want.Account.Binding = s.binding
	}
}

// tellTLS records how TLS is on a session's legs, if it is on any.
func (d *Daemon) tellTLS(log *recorder.Log, s *policy.Session) error {
	if s.ClientTLS == nil && s.ServerTLS == nil {
		return nil
	}
	var turn recorder.Turn
	log.Secured(&turn, time.Now(), s.ClientTLS, s.ServerTLS)
	if err := d.recorder.Commit(&turn); err != nil {
		return fmt.Errorf("%w: %w", errRecord, err)
	}
	return nil
}

// hand gives a session with its two legs to a loop. Kept: the legs are not the
// caller's any more.
func (d *Daemon) hand(client, server *legs.End, s *relay.Session) (kept bool, err error) {
	carried, err := legs.Hand(client, server, s)
	if err != nil {
		server.Reset()
		return false, fmt.Errorf("hand the session to a loop: %w", err)
	}
	if !d.relay(s) {
		carried.Abandon(s)
		return true, errStopping
	}
	return true, nil
}
