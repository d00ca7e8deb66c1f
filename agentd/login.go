package agentd

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"agentd.dev/agentd/capture"
	"agentd.dev/agentd/credentials"
	"agentd.dev/decoders"
	"agentd.dev/decoders/all"
	"agentd.dev/policy"
)

// byCredential is the rule that speaks where agentd logs in itself.
const byCredential = "credential"

// A loginKeeper is what of a session has to do with its being agentd's own
// login. The zero value is a session whose client logs in itself.
type loginKeeper struct {
	credential string // "" if the client logs in itself
	passwords  bool   // statements that give somebody a password are let through
	problem    error  // why agentd cannot log in, nil if it can
}

// logIn finds out what a session that begins is to log in with, and gets it.
// What a rule or the target says holds for the whole session. It fails closed:
// what cannot be had is told to the client when it says who it is, and no other
// login takes its place.
func (j *judge) logIn(ctx context.Context, conn *capture.Conn) {
	j.login.problem = j.account(ctx, conn)
	if j.login.problem != nil { // for the record; the login is refused
		j.want.Account = &decoders.Account{Credential: j.login.credential}
	}
}

// account makes the decoder log in, if agentd is to do that.
func (j *judge) account(ctx context.Context, conn *capture.Conn) error {
	name, _, err := j.rules.Credential()
	target, _ := j.by.config.Targets.named(j.session.Target.Name)
	switch {
	case err != nil:
		j.login.credential = "unknown" // to nobody: it is the condition that failed
		return err
	case name == "":
		name = target.Login.Credential
	}
	if name == "" {
		return nil
	}
	j.login.credential = name
	protocol, _ := all.Lookup(j.session.Target.Protocol)
	if !j.listed || !protocol.LogsIn {
		return fmt.Errorf("credential %q: agentd cannot log in to target %s of protocol %q", name, j.session.Target.Name, j.session.Target.Protocol)
	}
	if err := j.mayPlayServer(conn, &target); err != nil {
		return fmt.Errorf("credential %q is not used here: %w", name, err)
	}
	l, err := j.daemon.credentials.Fetch(ctx, name)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(j.by.config.Credentials, func(c credentials.Credential) bool { return c.Name == name })
	if i < 0 {
		return fmt.Errorf("credential %q: %w", name, credentials.ErrUnknown)
	}
	c := &j.by.config.Credentials[i]
	j.login.passwords = c.Passwords
	j.want.Account = &decoders.Account{
		Credential: name, User: l.User, Password: l.Password.Reveal(), Prepared: l.Prepared.Reveal(),
		Label: label(target.Login.Label, &j.session), Methods: c.Methods, Keys: l.Keys(), Rejected: l.Rejected,
	}
	return nil
}

// mayPlayServer returns an error if the workload may be the server, too: in a
// network that it made itself, or at an address of its own that a range of them
// holds. A server that has shown that it has the name it should is none of its.
func (j *judge) mayPlayServer(conn *capture.Conn, target *TargetConfig) error {
	if t := j.session.ServerTLS; t != nil && t.Verified == "name" {
		return nil
	}
	if target.ranges() {
		return fmt.Errorf("agentd logs in to one server, and target %s is a range of addresses", target.Name)
	}
	return j.daemon.capture.OwnNetwork(*conn)
}

// decoder returns the session's decoder, which from here on is all that has the
// secret.
func (j *judge) decoder(protocol *decoders.Protocol) decoders.Decoder {
	j.holder.decoder = protocol.New(j.want)
	j.want.Account = nil
	return j.holder.decoder
}

// label is what the server's own log shows of a session.
func label(as Label, s *policy.Session) string {
	const shown = 8 // of an id, as agentctl shows it at least
	switch text := "agentd/" + s.Identity.Workload; as {
	case LabelWorkload:
		return text
	case LabelSession:
		return text + "/" + s.ID[:min(shown, len(s.ID))]
	}
	return ""
}

// objection is what a session's being agentd's own login has against an event,
// nil if nothing.
func (l *loginKeeper) objection(ev *decoders.Event) *policy.Verdict {
	switch {
	case l.problem != nil && ev.Kind == decoders.Login:
		return &policy.Verdict{
			Outcome: policy.Refuse, Rule: byCredential,
			Reason: "agentd could not log in: " + l.problem.Error() + ".",
			Hint:   "Whoever runs agentd on this node sees more in `agentctl status`.",
		}
	case l.credential != "" && !l.passwords && setsPassword(ev.Facts):
		return &policy.Verdict{
			Outcome: policy.Refuse, Rule: byCredential,
			Reason: "This gives a user of the database a password, with which one could log in without agentd.",
			Hint:   "Whoever runs agentd on this node can set `passwords: allow` for credential " + l.credential + ".",
		}
	}
	return nil
}

// roleCommands are those that can give a user a password.
var roleCommands = []string{"alter role", "alter user", "alter group", "create role", "create user", "create group"}

// rowVerbs can, for a superuser, do the same to the catalogue's own table.
var rowVerbs = []string{"insert", "update", "merge"}

// setsPassword reports whether a statement gives a user a password, as far as
// its words show it. The word alone decides, so that a user who is called
// "password" counts, too.
func setsPassword(facts decoders.Facts) bool {
	if facts == nil {
		return false
	}
	commands, _ := facts.Field("sql.commands").([]string)
	verbs, _ := facts.Field("sql.verbs").([]string)
	word := ""
	switch among := func(list []string) func(string) bool {
		return func(s string) bool { return slices.Contains(list, s) }
	}; {
	case slices.ContainsFunc(commands, among(roleCommands)):
		word = "password"
	case slices.Contains(commands, "copy from"), slices.ContainsFunc(verbs, among(rowVerbs)):
		word = "pg_authid"
	default:
		return false
	}
	text, _ := facts.Field("sql.normalized").(string)
	return strings.Contains(strings.ToLower(text), word)
}
