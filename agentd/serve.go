package agentd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/capture"
	"agentd.dev/agentd/identity"
	"agentd.dev/agentd/legs"
	"agentd.dev/agentd/names"
	"agentd.dev/agentd/relay"
	"agentd.dev/decoders"
	"agentd.dev/decoders/all"
	"agentd.dev/policy"
	"agentd.dev/recorder"
)

const (
	dialTimeout  = 10 * time.Second
	lookTimeout  = 2 * time.Second        // how long a connection to an unknown address waits for DNS
	sniffTimeout = 300 * time.Millisecond // how long a client may be silent before its server is taken to speak first
)

// Why a connection was refused before it became a session.
var (
	errDirect   = errors.New("connected to agentd's listener instead of a target")
	errUnlisted = errors.New("no target has this address")
	errStopping = errors.New("agentd is stopping")
	errDial     = errors.New("target cannot be reached")
	errTLS      = errors.New("the client did not come to TLS")
	errRecord   = errors.New("the session cannot be recorded")
	errUnknown  = errors.New("nothing was decided on its workload")
)

// serve makes a session of one accepted connection and hands it to a loop. It
// owns conn.FD. It fails closed: whatever goes wrong, nothing reaches the
// target, and the client's connection is reset.
func (d *Daemon) serve(ctx context.Context, conn capture.Conn, place place) (err error) {
	client := legs.Plain(conn.FD)
	kept := false
	defer func() {
		if !kept {
			client.Reset()
		}
	}()
	free, undecided := d.decided(ctx, &conn)
	if free {
		kept = true
		return d.pass(ctx, conn)
	}
	id, err := identity.Of(ctx, d.sources, conn.Peer)
	if err != nil {
		return fmt.Errorf("identify pid %d: %w", conn.Peer.TGID, err)
	}
	by := d.inForce.Load()
	asked := d.asked(conn)
	target, protocol, scope, err := d.target(ctx, conn, asked)
	target.Host = asked
	err = errors.Join(undecided, err)
	session := &policy.Session{ID: rand.Text(), Start: time.Now(), Identity: id, Target: target, Scope: scope}
	by.config.capture(session, &protocol)
	d.sessions.add(session.ID) // first: a handover in between counts one too many, not one too few
	defer func() {
		if err != nil {
			d.sessions.remove(session.ID)
		}
	}()
	log, e := d.open(session)
	if e != nil {
		if err == nil {
			decline(ctx, conn.FD, &protocol, e)
		}
		return fmt.Errorf("%w: %w", errRecord, e) // no record, no connection
	}
	if err != nil {
		return d.reject(log, err)
	}
	secure, err := d.secure(protocol, session)
	if err != nil {
		return d.reject(log, err)
	}
	if err := secure.client(ctx, client, place, conn.Peer.Captured); err != nil {
		return d.reject(log, err)
	}
	server, err := d.reach(ctx, conn, secure)
	if err != nil {
		return d.reject(log, err)
	}
	if err := d.tellTLS(log, session); err != nil {
		server.Reset()
		return d.reject(log, err)
	}
	judge := d.newJudge(session, by)
	if !secure.refused() { // no secret is fetched for a session that goes nowhere
		judge.logIn(ctx, &conn)
	}
	secure.bind(judge)
	log.Wants(&judge.want)
	kept, err = d.hand(client, server, &relay.Session{
		Durable: by.config.Targets.durable(target.Name),
		Decoder: judge.decoder(&protocol),
		Judge:   judge,
		Log:     log,
		Done:    func(recorder.End) { d.sessionEnded(session.ID) },
	})
	if err != nil {
		return d.reject(log, err)
	}
	return nil
}

// asked is the name by which the client asked for the address it connects to.
func (d *Daemon) asked(conn capture.Conn) string {
	if conn.Direct {
		return ""
	}
	place := names.Place{NetNS: conn.Peer.NetNS, Cgroup: conn.Peer.Cgroup, Workload: conn.Peer.Captured}
	return d.names.Asked(place, conn.Dest.Addr(), conn.At)
}

// target finds out where conn goes, how that is decoded, and what will be seen of
// it. An error is why it may not go there.
func (d *Daemon) target(ctx context.Context, conn capture.Conn, asked string) (policy.Target, decoders.Protocol, policy.Scope, error) {
	if conn.Direct {
		return policy.Target{Name: "agentd", Address: conn.Dest}, decoders.Protocol{}, policy.UnknownKind, errDirect
	}
	target, listed := d.lookup(ctx, conn.Dest, asked)
	switch {
	case listed:
		protocol, ok := all.Lookup(target.Protocol)
		if !ok {
			return target, protocol, policy.UnknownKind, fmt.Errorf("target %s: there is no protocol %q", target.Name, target.Protocol)
		}
		return target, protocol, policy.Plaintext, nil
	case d.inForce.Load().config.Unlisted == UnlistedRefuse:
		return unlisted(conn.Dest, ""), decoders.Protocol{}, policy.UnknownKind, errUnlisted
	}
	protocol, scope := sniff(ctx, conn.FD)
	return unlisted(conn.Dest, protocol.Name), protocol, scope, nil
}

// unlistedName is what such a target is called. A configured one may not be.
const unlistedName = "unlisted"

// lookup finds the target at an address. If there is none, it asks DNS again
// for the hosts that could be there, and waits for the answer: no connection
// but this one does. That the client asked for a name decides nothing; it only
// says which of the hosts that match a pattern to look up. See
// docs/decisions/0013-targets-by-name.md.
func (d *Daemon) lookup(ctx context.Context, dest netip.AddrPort, asked string) (policy.Target, bool) {
	target, listed := d.targets().Lookup(dest, d.hosts.Has)
	possible := d.targets().hosts(dest.Port())
	if listed || len(possible) == 0 {
		return target, listed
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	var looking sync.WaitGroup
	for _, host := range possible {
		looking.Go(func() { d.hosts.Again(ctx, host, asked) })
	}
	looking.Wait()
	return d.targets().Lookup(dest, d.hosts.Has)
}

// unlisted is the target that stands for an address no target names. Where
// such addresses are only observed, everything is let through and recorded.
func unlisted(dest netip.AddrPort, protocol string) policy.Target {
	return policy.Target{
		Name:         unlistedName,
		Address:      dest,
		Protocol:     protocol,
		Default:      policy.Allowing,
		Unclassified: policy.Allowing,
	}
}

// open starts the record of a session.
func (d *Daemon) open(s *policy.Session) (*recorder.Log, error) {
	var turn recorder.Turn
	log, err := d.recorder.Begin(&turn, s)
	if err != nil {
		return nil, err
	}
	return log, d.recorder.Commit(&turn)
}

// reject ends the record of a session that never began, and returns why.
func (d *Daemon) reject(log *recorder.Log, why error) error {
	var turn recorder.Turn
	log.End(&turn, time.Now(), recorder.End{Reason: "refused: " + why.Error()})
	return errors.Join(why, d.recorder.Commit(&turn))
}

// dial connects to where conn was going, from the network namespace it came
// from.
func (d *Daemon) dial(ctx context.Context, conn capture.Conn) (fd int, err error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	fd, err = d.capture.Dial(ctx, conn)
	switch {
	case err == nil:
	case errors.Is(context.Cause(ctx), errStopping):
		return -1, errStopping
	default:
		return -1, fmt.Errorf("%w: %w", errDial, err)
	}
	return fd, nil
}

// resetClose closes a socket so that its peer sees a reset: nothing that was
// sent reached anyone.
func resetClose(fd int) {
	relay.Reset(fd)
	unix.Close(fd)
}
