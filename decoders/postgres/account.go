package postgres

import (
	"cmp"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"agentd.dev/decoders"
)

// maxChallenge is how long an authentication message may be.
const maxChallenge = 4 << 10

// An account is how far agentd has come in logging in itself.
type account struct {
	replaced int    // bytes of the client's StartupMessage still to be dropped
	admitted bool   // the server has said AuthenticationOk
	scram    *scram // nil if it did not ask for that
	key      []byte // of the password and scram's salt
	answered bool   // scram's last message was sent
	verified bool   // the server has shown that it knows the password, too
}

// The codes of Authentication messages (protocol.sgml).
const (
	authenticationOK      = 0
	authenticationPlain   = 3
	authenticationMD5     = 5
	authenticationSASL    = 10
	authenticationGoOn    = 11 // SASLContinue
	authenticationOutcome = 12 // SASLFinal
)

// notAnswered are the codes of what agentd cannot do.
var notAnswered = map[uint32]string{2: "Kerberos", 6: "SCM credentials", 7: "GSSAPI", 8: "GSSAPI", 9: "SSPI"}

// logInAs asks about a login that is to go out as agentd's own. An Ask cannot
// replace what it is about, so it is about the first byte alone, which is zero
// in the client's message and in agentd's; replace does the rest.
func (d *decoder) logInAs(a *decoders.Account, msg []byte, facts *login, ev decoders.Event) (decoders.Step, error) {
	facts.as, facts.credential = a.User, a.Credential
	if facts.database == "" {
		facts.database = a.User
	}
	d.client.out = startup(d.client.out[:0], msg, a, facts)
	if n := len(d.client.out); n > maxStartup {
		return decoders.Step{}, fmt.Errorf("start-up message of %d bytes with what agentd adds: a server takes %d", n, maxStartup)
	}
	d.account.replaced = len(msg) - 1
	d.phase = replacing
	return d.ask(1, ev), nil
}

// replace drops the rest of the client's StartupMessage for that of agentd's.
func (d *decoder) replace() decoders.Step {
	d.phase = loggingIn
	return decoders.Step{Op: decoders.Drop, N: d.account.replaced, Out: d.client.out[1:]}
}

// startup appends a StartupMessage of the same protocol version: the account's
// user, the database that the client meant, and whatever else it sent, but for
// what agentd sets itself. Of several values the server takes the last.
func startup(dst, msg []byte, a *decoders.Account, facts *login) []byte {
	set := map[string]string{"user": a.User, "database": facts.database}
	if a.Label != "" {
		set["application_name"] = labelled(a.Label, facts.application)
	}
	maps.Copy(set, a.Parameters)
	return preset(dst, msg, set)
}

// labelled is an application_name: a label and what the client calls itself,
// as far as the server keeps names and in what it can print.
func labelled(label, application string) string {
	b := []byte(strings.TrimSpace(label + " " + application))
	b = b[:min(len(b), maxName)]
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = '?'
		}
	}
	return string(b)
}

// challenge handles the server's messages up to AuthenticationOk where agentd
// logs in itself. None of what the server asks for reaches the client.
func (d *decoder) challenge(m message) (turn, error) {
	switch m.typ {
	case 'N', 'v':
		return walk, nil
	case 'E':
		return d.rejected(m)
	case 'R':
	default:
		return walk, fmt.Errorf("the server sent message %q before the login was over", m.typ)
	}
	if m.size < headerLen+4 || m.size > maxChallenge {
		return walk, fmt.Errorf("authentication message of %d bytes", m.size)
	}
	if !m.whole() {
		return d.need(m.size), nil
	}
	code, body := binary.BigEndian.Uint32(m.body()), m.body()[4:]
	if code == authenticationOK {
		return walk, d.admitted(body)
	}
	if !m.first {
		return flush, nil
	}
	out, study, err := d.answer(begin(d.server.out[:0], 'p'), code, body)
	switch {
	case err != nil:
		return walk, fmt.Errorf("agentd could not log in with credential %q: %w", d.want.Account.Credential, err)
	case study != nil:
		d.server.step = decoders.Step{Op: decoders.Study, Study: study}
	case code == authenticationOutcome:
		d.server.step = decoders.Step{Op: decoders.Drop, N: m.size}
	default:
		d.server.out = finish(out, 0)
		d.server.step = decoders.Step{Op: decoders.Drop, N: m.size, Back: d.server.out}
	}
	return alone, nil
}

// admitted ends agentd's login. It fails closed: a server that began SCRAM and
// does not end it has not shown that it is the right one.
func (d *decoder) admitted(body []byte) error {
	if s := &d.account; len(body) > 0 || s.scram != nil && !s.verified {
		return fmt.Errorf("agentd could not log in with credential %q: the server let it in without showing that it knows the password itself", d.want.Account.Credential)
	}
	clear(d.server.out[:cap(d.server.out)])
	d.want.Account = &decoders.Account{Credential: d.want.Account.Credential} // the secret has served
	d.account = account{admitted: true}
	return nil
}

// answer appends the body of the answer to a server's request. If study is not
// nil, it has to be called before there is one.
func (d *decoder) answer(dst []byte, code uint32, body []byte) (out []byte, study func(), err error) {
	s, a := &d.account, d.want.Account
	if what := notAnswered[code]; what != "" {
		return dst, nil, fmt.Errorf("the server asks for %s, which agentd cannot do", what)
	}
	if a.Password == "" && code != authenticationOutcome {
		return dst, nil, errors.New("the server asks for a password, and the credential has none")
	}
	switch {
	case code == authenticationPlain && len(body) == 0:
		if a.Methods&decoders.PlainPassword == 0 {
			return dst, nil, errors.New("the server asks for the password itself, which the credential's `methods` do not allow")
		}
		return append(append(dst, a.Password...), 0), nil, nil
	case code == authenticationMD5 && len(body) == 4:
		if a.Methods&decoders.HashedPassword == 0 {
			return dst, nil, errors.New("the server asks for an MD5 hash of the password, which the credential's `methods` do not allow")
		}
		return append(append(dst, hashed(a.Password, a.User, body)...), 0), nil, nil
	case code == authenticationSASL && s.scram == nil:
		out, err = d.beginSCRAM(dst, body)
		return out, nil, err
	case code == authenticationGoOn && s.scram != nil && !s.answered:
		return d.goOn(dst, body)
	case code == authenticationOutcome && s.answered && !s.verified:
		s.verified = true
		return dst, nil, s.scram.verify(body)
	}
	return dst, nil, fmt.Errorf("the server sent authentication message %d, which does not fit here", code)
}

// hashed is what AuthenticationMD5Password asks for.
func hashed(password, user string, salt []byte) string {
	inner := md5.Sum([]byte(password + user))
	outer := md5.Sum(append(hex.AppendEncode(nil, inner[:]), salt...))
	return "md5" + hex.EncodeToString(outer[:])
}

// beginSCRAM chooses of the mechanisms that the server lists, and appends a
// SASLInitialResponse.
func (d *decoder) beginSCRAM(dst, list []byte) ([]byte, error) {
	var offered []string
	for len(list) > 1 {
		name, rest, ok := cstring(list)
		if !ok || len(name) == 0 {
			break
		}
		offered, list = append(offered, string(name)), rest
	}
	a := d.want.Account
	plus := len(a.Binding) > 0 && slices.Contains(offered, scramPlus)
	mechanism := scramPlain
	switch {
	case plus:
		mechanism = scramPlus
	case !slices.Contains(offered, scramPlain):
		return dst, fmt.Errorf("the server offers %q, and agentd needs %s", offered, scramPlain)
	}
	d.account.scram = newSCRAM(plus, a.Binding, scramNonce())
	first := d.account.scram.first()
	dst = append(append(dst, mechanism...), 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(first)))
	return append(dst, first...), nil
}

// goOn answers the server's challenge. The key that takes is made beside the
// session, if it is not known.
func (d *decoder) goOn(dst, body []byte) (out []byte, study func(), err error) {
	s, a := &d.account, d.want.Account
	if s.key == nil {
		if err := s.scram.challenge(body); err != nil {
			return dst, nil, err
		}
		if a.Keys != nil {
			s.key, _ = a.Keys.Known(s.scram.salt, s.scram.rounds)
		}
	}
	if s.key == nil {
		return dst, s.study(a), nil
	}
	s.answered = true
	return append(dst, s.scram.final(s.key)...), nil, nil
}

// study returns what makes the key.
func (s *account) study(a *decoders.Account) func() {
	scram := s.scram
	return func() {
		s.key = scram.key(cmp.Or(a.Prepared, a.Password))
		if a.Keys != nil {
			a.Keys.Keep(scram.salt, scram.rounds, s.key)
		}
	}
}

// rejected handles the server's error in place of AuthenticationOk: the client
// learns that it was agentd's login that failed, not its own.
func (d *decoder) rejected(m message) (turn, error) {
	if want := min(m.size, maxError); len(m.buf) < want {
		return d.need(want), nil
	}
	if !m.first {
		return flush, nil
	}
	a := d.want.Account
	f := parseFailure(m.body())
	code, hint := string(f.code), ""
	if strings.HasPrefix(code, "28") {
		if code == invalidPassword && a.Rejected != nil {
			a.Rejected()
		}
		code, hint = invalidAuthorization, "Whoever runs agentd on this node can correct the credential; no password of the client's is asked for."
	}
	message := fmt.Sprintf("agentd could not log in with credential %q: %s", a.Credential, f.message)
	d.server.out = complaint(d.server.out[:0], "FATAL", code, message, hint)
	d.server.event = decoders.Event{Kind: decoders.Outcome, Seq: d.seq, Result: decoders.Result{Code: string(f.code), Message: message}}
	d.server.step = decoders.Step{Op: decoders.Drop, N: m.size, Out: d.server.out, Event: &d.server.event}
	return alone, nil
}
