package postgres_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"agentd.dev/decoders"
	"agentd.dev/decoders/postgres"
)

const accountPassword = "correct horse battery"

// accounts makes the users that pg_hba.conf speaks of.
func accounts(t *testing.T) {
	t.Helper()
	c := dial(t, serverAddr(t), "postgres")
	for _, text := range []string{
		"drop role if exists scram_user, md5_user, plain_user, nobody_user, trusted_user",
		"create role scram_user login password '" + accountPassword + "'",
		"create role plain_user login password '" + accountPassword + "'",
		"create role nobody_user login", "create role trusted_user login",
		"set password_encryption = md5",
		"create role md5_user login password '" + accountPassword + "'",
	} {
		for _, r := range c.run(text) {
			if r.typ == 'E' {
				t.Fatalf("%s: %s", text, field(r.body, 'M'))
			}
		}
	}
}

// keys remembers keys for ever, and counts.
type keys struct {
	mu            sync.Mutex // guards the rest
	all           map[string][]byte
	found, missed int
}

func (k *keys) Known(salt []byte, iterations int) ([]byte, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key, ok := k.all[fmt.Sprint(salt, iterations)]
	if ok {
		k.found++
	} else {
		k.missed++
	}
	return key, ok
}

func (k *keys) Keep(salt []byte, iterations int, key []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.all == nil {
		k.all = map[string][]byte{}
	}
	k.all[fmt.Sprint(salt, iterations)] = key
}

// The client names a user that does not exist and sends no password.
func TestAgentdLogsInWithItsOwnAccount(t *testing.T) {
	accounts(t)
	for _, tt := range []struct {
		user    string
		methods decoders.Methods
	}{
		{"scram_user", 0},
		{"md5_user", decoders.HashedPassword},
		{"plain_user", decoders.PlainPassword},
		{"trusted_user", 0},
	} {
		for chunk := range 4 {
			p := startProxy(t, decoders.Want{Account: &decoders.Account{
				Credential: "reading", User: tt.user, Password: accountPassword, Methods: tt.methods, Label: "agentd/job",
			}}, allow, chunk)
			c := connect(t, p.addr())
			c.send(startup("user", "nobody at all", "database", "postgres", "application_name", "née", "extra_float_digits", "2", "USER", "x", "Application_Name", "y", "options", "-c application_name=z -c work_mem=5MB"))
			for _, r := range c.until('Z') {
				if r.typ == 'R' && string(r.body) != "\x00\x00\x00\x00" || r.typ == 'E' {
					t.Fatalf("%s: the client was sent %v %s", tt.user, r, field(r.body, 'M'))
				}
			}
			for text, want := range map[string]string{
				"select current_user":       tt.user,
				"select current_database()": "postgres",
				"select application_name from pg_stat_activity where pid = pg_backend_pid()": "agentd/job n??e",
				"show extra_float_digits": "2",
				"show work_mem":           "5MB",
			} {
				if got := c.value(text); got != want {
					t.Errorf("%s, chunks of %d: %s: got %q, want %q", tt.user, chunk, text, got, want)
				}
			}
			ev := p.seen(decoders.Login)[0].ev
			if got := fmt.Sprint(ev.Facts.Field("login.user"), "/", ev.Facts.Field("login.as"), "/", ev.Facts.Field("login.credential")); got != "nobody at all/"+tt.user+"/reading" {
				t.Errorf("the login is asked about as %q", got)
			}
			for _, err := range p.failures() {
				t.Error(err)
			}
		}
	}
}

// value runs a query for one value.
func (c *client) value(text string) string {
	c.t.Helper()
	for _, r := range c.run(text) {
		if r.typ == 'D' && len(r.body) >= 6 {
			return string(r.body[6:])
		}
	}
	return ""
}

func TestTheDatabaseIsTheOneTheClientMeant(t *testing.T) {
	accounts(t)
	for _, tt := range []struct {
		params []string
		want   string
	}{
		{[]string{"user", "postgres"}, "postgres"},
		{[]string{"user", "x", "database", "template1"}, "template1"},
		{[]string{"user", "x", "database", "postgres", "database", "template1"}, "template1"},
	} {
		p := startProxy(t, decoders.Want{Account: &decoders.Account{Credential: "c", User: "scram_user", Password: accountPassword}}, allow, 0)
		c := connect(t, p.addr())
		c.send(startup(tt.params...))
		c.until('Z')
		if got := c.value("select current_database()"); got != tt.want {
			t.Errorf("%q: in database %q, want %q", tt.params, got, tt.want)
		}
	}
}

func TestKeysAreMadeOnce(t *testing.T) {
	accounts(t)
	k := new(keys)
	p := startProxy(t, decoders.Want{Account: &decoders.Account{Credential: "c", User: "scram_user", Password: accountPassword, Keys: k}}, allow, 0)
	for range 3 {
		c := connect(t, p.addr())
		c.send(startup("user", "x", "database", "postgres"))
		c.until('Z')
	}
	if k.missed != 1 || k.found != 2 {
		t.Errorf("a key was looked for %d times in vain and %d times not, want 1 and 2", k.missed, k.found)
	}
}

func TestALoginThatFailsIsToldAsAgentds(t *testing.T) {
	accounts(t)
	for _, tt := range []struct {
		user, password string
		methods        decoders.Methods
		want           string
		rejected       int
	}{
		{"scram_user", "wrong secret", 0, `FATAL 28000 agentd could not log in with credential "reading": password authentication failed for user "scram_user"`, 1},
		{"md5_user", "wrong secret", decoders.HashedPassword, `FATAL 28000 agentd could not log in with credential "reading": password authentication failed for user "md5_user"`, 1},
		{"nobody_user", "wrong secret", 0, `FATAL 28000 agentd could not log in with credential "reading": pg_hba.conf rejects connection`, 0},
		{"md5_user", "wrong secret", 0, `MD5 hash of the password, which the credential's ` + "`methods`" + ` do not allow`, 0},
		{"plain_user", "wrong secret", 0, `the password itself, which the credential's ` + "`methods`" + ` do not allow`, 0},
		{"scram_user", "", 0, "asks for a password, and the credential has none", 0},
	} {
		rejected := 0
		p := startProxy(t, decoders.Want{Account: &decoders.Account{
			Credential: "reading", User: tt.user, Password: tt.password, Methods: tt.methods, Rejected: func() { rejected++ },
		}}, allow, 0)
		c := connect(t, p.addr())
		c.send(startup("user", "x", "database", "postgres"))
		r, err := c.next()
		got := fmt.Sprint(field(r.body, 'S'), " ", field(r.body, 'C'), " ", field(r.body, 'M'))
		if err != nil || r.typ != 'E' || !strings.Contains(got, tt.want) || strings.Contains(got, "wrong secret") {
			t.Errorf("%s with %q: got %c %q, %v, want %q", tt.user, tt.password, r.typ, got, err, tt.want)
		}
		if _, err := c.next(); err != io.EOF {
			t.Errorf("%s: then %v, want EOF", tt.user, err)
		}
		p.listen.Close()
		p.conns.Wait()
		if rejected != tt.rejected {
			t.Errorf("%s with %q: told %d times that the password is not taken, want %d", tt.user, tt.password, rejected, tt.rejected)
		}
	}
}

func TestAClientThatSendsAPasswordUnaskedIsToldSo(t *testing.T) {
	d := postgres.Protocol.New(decoders.Want{Account: &decoders.Account{Credential: "c", User: "u", Password: "p"}})
	hello := startup("user", "x")
	for n := 0; n < len(hello); {
		step, err := d.Next(decoders.FromClient, hello[n:])
		if err != nil {
			t.Fatal(err)
		}
		n += step.N
	}
	if step, err := d.Next(decoders.FromClient, msg('p', "secret", 0)); err == nil {
		t.Errorf("got %+v, want an error", step)
	}
}

// What a server says that is not the one it is taken for.
func TestAServerThatDoesNotShowThatItKnowsThePasswordIsNotBelieved(t *testing.T) {
	for _, tt := range []struct{ name, says, want string }{
		{"it lets agentd in at once after SCRAM began", "R\x00\x00\x00\x17\x00\x00\x00\x0aSCRAM-SHA-256\x00\x00R\x00\x00\x00\x08\x00\x00\x00\x00", "without showing"},
		{"Kerberos", "R\x00\x00\x00\x08\x00\x00\x00\x07", "GSSAPI"},
		{"another mechanism", "R\x00\x00\x00\x0e\x00\x00\x00\x0aPLAIN\x00\x00", "SCRAM-SHA-256"},
		{"SCRAM's end first", "R\x00\x00\x00\x0c\x00\x00\x00\x0cv=aa", "does not fit"},
		{"ReadyForQuery at once", "Z\x00\x00\x00\x05I", "before the login was over"},
		{"a request that is too long", "R\x7f\x00\x00\x00\x00\x00\x00\x0a", "bytes"},
	} {
		d := postgres.Protocol.New(decoders.Want{Account: &decoders.Account{Credential: "c", User: "u", Password: "p", Methods: 3}})
		hello := startup("user", "x")
		for n := 0; n < len(hello); {
			step, err := d.Next(decoders.FromClient, hello[n:])
			if err != nil {
				t.Fatal(err)
			}
			n += step.N
		}
		var err error
		for said := []byte(tt.says); len(said) > 0 && err == nil; {
			var step decoders.Step
			step, err = d.Next(decoders.FromServer, said)
			said = said[min(max(step.N, 1), len(said)):]
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want an error that says %q", tt.name, err, tt.want)
		}
	}
}

// What a client sends before agentd has logged in is asked about behind the
// login, in its order, and runs once.
func TestWhatIsSentBeforeTheLoginIsOverWaitsForIt(t *testing.T) {
	accounts(t)
	for chunk := range 4 {
		p := startProxy(t, decoders.Want{Account: &decoders.Account{Credential: "c", User: "scram_user", Password: accountPassword}},
			func(ev *decoders.Event) (*decoders.Refusal, []decoders.Mask) {
				if strings.Contains(string(ev.Text), "refused") {
					return &decoders.Refusal{Rule: "r", Reason: "no"}, nil
				}
				return nil, nil
			}, chunk)
		c := connect(t, p.addr())
		c.send(join(startup("user", "x", "database", "postgres"), msg('Q', "select current_user", 0), msg('Q', "select 'refused'", 0),
			parseMsg("", "select 2"), bindMsg("", ""), executeMsg(""), syncMsg()))
		c.until('Z')
		replies := c.ready(3)
		if got := values(replies); !slices.Equal(got, []string{"scram_user", "2"}) {
			t.Errorf("chunks of %d: got %q in %v", chunk, got, replies)
		}
		var asked []string
		for _, s := range p.seen(decoders.Login | decoders.Request | decoders.Prepare) {
			asked = append(asked, string(s.ev.Text))
		}
		if want := []string{"", "select current_user", "select 'refused'", "select 2", "select 2"}; !slices.Equal(asked, want) {
			t.Errorf("chunks of %d: asked about %q, want %q", chunk, asked, want)
		}
	}
}
