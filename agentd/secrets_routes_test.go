package agentd_test

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
)

// Why something is kept, or not.
const (
	aLogin     = "nobody needs a login's secret again"
	anOwnKey   = "it is agentd's own"
	aPassword  = "the words around it tell that it is a secret: literals are left out"
	aValue     = "what is bound is not recorded"
	ownText    = "it is the statement's own text, and nothing tells that it is a secret"
	unreadable = "what cannot be read as SQL is recorded as its length"
	rowsShown  = "`record.results` keeps what the client was shown"
	claimed    = "the configuration names the variable"
)

var (
	inRecord = []string{"record"}
	inKeys   = []string{"keys"}
)

// leaks are all routes, in the order of the document.
var leaks = slicesOf(leaksOfLogins, leaksOfAgentd, leaksOfRoles, leaksOfElsewhere, leaksOfSettings, leaksOfFunctions, leaksOfTables,
	leaksOfTheProtocol, leaksOfErrors, leaksOfVerdicts, leaksOfResults)

func slicesOf(groups ...[]leak) (all []leak) {
	for _, g := range groups {
		all = append(all, g...)
	}
	return all
}

// as logs in with a password in the client's own way.
func (s *leakScene) as(user, password string, env ...string) []string {
	cmd := psql(s.server, "select 1;")
	cmd.Args = append(cmd.Args, "-U", user)
	s.by("")(withEnv(cmd, append(env, "PGPASSWORD="+password)...)).Run()
	return []string{password}
}

// user makes a user with that password, and logs in with it.
func (s *leakScene) user(name, password, encryption string) []string {
	s.server.SQL(s.t, fmt.Sprintf("set password_encryption = '%s'; create role %s login password '%s'", encryption, name, password))
	return append(s.as(name, password), s.server.SQL(s.t, "select rolpassword from pg_authid where rolname = '"+name+"'"))
}

var leaksOfLogins = []leak{
	{group: "login", name: "a client's password, by SCRAM", why: aLogin, do: func(s *leakScene, secret string) []string {
		return s.user("leak_scram", secret, "scram-sha-256")
	}},
	{group: "login", name: "a client's password, by MD5", why: aLogin, do: func(s *leakScene, secret string) []string {
		s.server.SQL(s.t, "set password_encryption = md5; alter role md5_user password '"+secret+"'")
		defer s.server.SQL(s.t, "set password_encryption = md5; alter role md5_user password '"+loginSecret+"'")
		return s.as("md5_user", secret)
	}},
	{group: "login", name: "a client's password, in the clear", why: aLogin, do: func(s *leakScene, secret string) []string {
		s.server.SQL(s.t, "alter role rejected_user password '"+secret+"'")
		return s.as("plain_user", secret)
	}},
	{group: "login", name: "a password that is wrong", why: aLogin, do: func(s *leakScene, secret string) []string { return s.as("scram_user", secret) }},
	{group: "login", name: "an environment variable that nothing names", why: "it is not looked at", do: func(s *leakScene, secret string) []string {
		return s.as(s.server.User, s.server.Password, "OPENAI_API_KEY="+secret)
	}},
	{group: "login", name: "an environment variable that is a claim", kept: inRecord, why: claimed, do: func(s *leakScene, secret string) []string {
		return s.as(s.server.User, s.server.Password, "TASK_ID="+secret)
	}},
	{group: "login", name: "a setting with a secret's name in the startup's options", why: "of options the names are kept", do: func(s *leakScene, secret string) []string {
		return s.as(s.server.User, s.server.Password, "PGOPTIONS=-c app.api_key="+secret)
	}},
	{group: "login", name: "any setting in the startup's options", why: "of options the names are kept", do: func(s *leakScene, secret string) []string {
		return s.as(s.server.User, s.server.Password, "PGOPTIONS=-c app.anything="+secret)
	}},
	{group: "login", name: "as the application's name", kept: inRecord, why: "it is who the client says it is", do: func(s *leakScene, secret string) []string {
		return s.as(s.server.User, s.server.Password, "PGAPPNAME="+secret)
	}},
	{group: "login", name: "the key by which a session's statements are cancelled", why: aLogin, do: cancelKeys},
	{group: "login", name: "the password in a command line of the captured program", why: "of a process its name is kept, not its arguments", do: func(s *leakScene, secret string) []string {
		cmd := exec.Command("psql", "-XqAt", "-c", "select 1", fmt.Sprintf("postgresql://%s:%s@%s/%s", s.server.User, secret, s.server.Addr, s.server.Database))
		s.by("")(cmd).Run()
		return nil
	}},
}

// sayCancelKey prints the key of a session, and cancels by it.
const sayCancelKey = `
import socket, struct, sys
host, port, user = sys.argv[1], int(sys.argv[2]), sys.argv[3]
def take(s, n):
    b = b""
    while len(b) < n:
        more = s.recv(n - len(b))
        if not more: sys.exit("the session ended")
        b += more
    return b
s = socket.create_connection((host, port))
p = b"user\0" + user.encode() + b"\0database\0orders\0\0"
s.sendall(struct.pack(">II", len(p) + 8, 3 << 16) + p)
key = b""
while True:
    kind, n = struct.unpack(">cI", take(s, 5))
    body = take(s, n - 4)
    if kind == b"K": key = body[4:]; pid = body[:4]
    if kind == b"Z": break
for k in (key, bytes(len(key))):
    c = socket.create_connection((host, port))
    c.sendall(struct.pack(">II", 12 + len(k), 80877102) + pid + k)
    c.recv(1)
print(key.hex())
`

func cancelKeys(s *leakScene, _ string) []string {
	out, err := s.by("")(exec.Command("/usr/bin/python3", "-c", sayCancelKey, s.server.Addr.Addr().String(), portOf(s.server), "trusted_user")).CombinedOutput()
	key, bad := hex.DecodeString(strings.TrimSpace(string(out)))
	if err != nil || bad != nil {
		s.t.Errorf("the key of a session: %s (%v)", out, err)
		return nil
	}
	return []string{hex.EncodeToString(key)}
}

// loginAs has each of some workloads log in.
func loginAs(what string, workloads ...string) func(*leakScene, string) []string {
	return func(s *leakScene, _ string) (secrets []string) {
		for _, w := range workloads {
			s.by(w)(stranger(s.server, "select 1;", "select no_such_column;")).Run()
		}
		return []string{s.own[what]}
	}
}

var leaksOfAgentd = []leak{
	{group: "agentd's own", name: "a credential's password, from a file", why: anOwnKey, do: loginAs("credential right", "right", "hashed", "plain")},
	{group: "agentd's own", name: "a credential's password, from the environment", why: anOwnKey, do: loginAs("credential environment", "environment")},
	{group: "agentd's own", name: "a credential's password, from a program", why: anOwnKey, do: loginAs("credential telling", "telling")},
	{
		group: "agentd's own", name: "a credential's password, of a login that fails", why: anOwnKey,
		do: loginAs("credential wrong", "wrong", "rejected", "weak", "shown", "open", "helper", "odd"),
	},
	{group: "agentd's own", name: "the keys of the log, of hashes in the place of values, and of TLS", kept: inKeys, why: "each is in its own file, of mode 0600", do: func(s *leakScene, _ string) []string {
		s.by("masked")(psql(s.server, "select ssn from people;")).Run()
		return s.ownKeys()
	}},
	{group: "agentd's own", name: "the key of the callback's certificate", why: anOwnKey, do: func(s *leakScene, _ string) []string {
		text, err := os.ReadFile(s.agentd.Config)
		m := regexp.MustCompile(`(?m)^  key: "(.*)"$`).FindStringSubmatch(string(text))
		if err != nil || m == nil {
			s.t.Errorf("the configuration names no key: %v", err)
			return nil
		}
		return secretLines(s.t, m[1])
	}},
	{group: "agentd's own", name: "what webhooks are signed with", why: anOwnKey, do: func(s *leakScene, _ string) []string { return []string{hookSecret} }},
	{group: "agentd's own", name: "a webhook's URL, from a file", why: anOwnKey, do: func(s *leakScene, _ string) []string {
		return []string{s.own["a webhook's URL"]}
	}},
	{group: "agentd's own", name: "an approver's token, right or wrong", why: anOwnKey, do: func(s *leakScene, secret string) []string {
		for _, token := range []string{approverToken, secret + secret} {
			s.press.post(s.press.where+"/approvals/0123456789abcdef", "application/json", `{"decision": "approve"}`, "Authorization", "Bearer "+token)
			s.press.post(s.press.where+"/approvals/0123456789abcdef?token="+token, "application/x-www-form-urlencoded", "decision=approve&token="+token)
		}
		return []string{approverToken}
	}},
	{group: "agentd's own", name: "the link by which one person decides", kept: []string{"webhooks"}, why: "it is sent to that person alone", do: func(s *leakScene, _ string) []string {
		s.holds("update held set id = 1")
		body := s.press.heard(func(body string) bool { return strings.Contains(body, "update held set id") })
		m := regexp.MustCompile(`"decide":"(https://[^"]*[?&]t=([^"&]+))"`).FindStringSubmatch(strings.ReplaceAll(body, `\u0026`, "&"))
		if m == nil {
			s.t.Errorf("no link in %q", body)
			return nil
		}
		if code, text := s.press.answer(s.press.people.Get(m[1])); code != http.StatusOK && code != http.StatusForbidden {
			s.t.Errorf("the link: %d %s", code, text)
		}
		return []string{m[2]}
	}},
}

// holds has a statement wait for people until they have said no.
func (s *leakScene) holds(statement string) {
	cmd := s.by("holding")(psql(s.server, statement+";"))
	if err := cmd.Start(); err != nil {
		s.t.Error(err)
		return
	}
	r := s.awaitHeld(statement)
	s.ctl("approvals", "approvals", "show", r)
	s.saw("approvals", "GET /v1/approvals/"+r, overSocket(s.t, s.agentd.Socket, "/v1/approvals/"+r))
	if out, err := s.agentd.CtlBy(s.t, somebody, "approvals", "deny", r, "--reason", "enough"); err != nil {
		s.t.Errorf("deny: %v %s", err, out)
	}
	cmd.Wait()
}

// says is a psql that says something.
func says(group, name, say, why string, kept ...string) leak {
	return leak{group: group, name: name, say: say, why: why, kept: kept}
}

var leaksOfRoles = []leak{
	says("role", "CREATE ROLE", "create role leak_a login password '{}'", aPassword),
	says("role", "CREATE USER, upper case and comments", "CREATE /* a */ USER leak_b WITH ENCRYPTED PASSWORD $x${}$x$", aPassword),
	says("role", "ALTER ROLE", "alter role leak_a with password E'{}'", aPassword),
	says("role", "ALTER ROLE, in a comment", "alter role leak_a password null -- was {}", "comments beside secrets are left out"),
	says("role", "ALTER GROUP", "alter group leak_a password '{}'", aPassword),
	says("role", `psql's \password`, "set password_encryption = 'scram-sha-256'; \\password leak_a\n{}\n{}\n", aPassword),
	says("role", "in double quotes, as if it were a name", `alter role leak_a password "{}"`, aPassword),
	says("role", "without quotes, as if it were a name", "alter role leak_a password {}", aPassword),
	says("role", "IDENTIFIED BY, as in other databases", "alter user leak_a identified by '{}'", aPassword),
	says("role", "IDENTIFIED BY without quotes", "alter user leak_a identified by {}", aPassword),
	says("role", "with a typing mistake", "alter rol leak_a pasword '{}'", ownText, "record"),
	says("role", "with a typing mistake elsewhere", "alter rol leak_a password '{}'", aPassword),
	says("role", "two statements in one", "select 1; alter role leak_a password '{}'; select 2", aPassword),
	says("role", "within DO", "do $$ begin execute format('alter role leak_a password %L', '{}'); end $$", aPassword),
	says("role", "within a function", "create or replace function leak_f() returns void language sql as $$ alter role leak_a password '{}' $$", aPassword),
	says("role", "an UPDATE of the catalogue", "update pg_authid set rolpassword = '{}' where rolname = 'nobody'", aPassword),
}

var leaksOfElsewhere = []leak{
	says("elsewhere", "CREATE SERVER", "create server leak_s1 foreign data wrapper postgres_fdw options (host 'h', sslcert '{}')", aPassword),
	says("elsewhere", "ALTER SERVER", "alter server leak_s1 options (add passcode '{}')", aPassword),
	says("elsewhere", "CREATE USER MAPPING", "create user mapping for public server leak_s1 options (user 'u', password '{}')", aPassword),
	says("elsewhere", "ALTER USER MAPPING", "alter user mapping for public server leak_s1 options (set password '{}')", aPassword),
	says("elsewhere", "CREATE FOREIGN TABLE", "create foreign table leak_ft (a int) server leak_s1 options (table_name '{}')", aPassword),
	says("elsewhere", "CREATE SUBSCRIPTION", "create subscription leak_sub connection 'host=h password={}' publication p with (connect = false)", aPassword),
	says("elsewhere", "ALTER SUBSCRIPTION", "alter subscription leak_sub connection 'host=h sslkey={}'", aPassword),
	says("elsewhere", "dblink", "select * from dblink('host=127.0.0.1 port=1 user=u pass' || 'word={}', 'select 1') as t(a int)", aPassword),
	says("elsewhere", "dblink_connect", "select dblink_connect('h', 'postgresql://u:{}@127.0.0.1:1/db')", aPassword),
	says("elsewhere", "ALTER SYSTEM SET primary_conninfo", "alter system set primary_conninfo = 'host=h password={}'", aPassword),
	says("elsewhere", "ALTER SYSTEM SET ssl_passphrase_command", "alter system set ssl_passphrase_command = 'echo {}'", aPassword),
	says("elsewhere", "COPY PROGRAM with a token in a header", "copy notes from program 'curl -H \"Authorization: Bearer {}\" http://127.0.0.1:1/'", aPassword),
	says("elsewhere", "COPY PROGRAM with a token in an argument", "copy notes from program 'curl http://127.0.0.1:1/?api_key={}'", aPassword),
	says("elsewhere", "COPY PROGRAM with a password in a URL", "copy notes from program 'curl ftp://u:{}@127.0.0.1:1/'", aPassword),
	says("elsewhere", "COPY PROGRAM with anything", "copy notes from program 'false {}'", ownText, "record"),
}

var leaksOfSettings = []leak{
	says("setting", "SET of a name that tells", "set app.api_key = '{}'", aPassword),
	says("setting", "SET without quotes", "set app.api_key = {}", aPassword),
	says("setting", "SET without quotes, TO", "set session app.access_token to {}", aPassword),
	says("setting", "SET of a token", "set app.token = '{}'", aPassword),
	says("setting", "set_config", "select set_config('app.api_key', '{}', false)", aPassword),
	says("setting", "set_config of a secret", "select set_config('app.jwt_secret', '{}', false)", aPassword),
	says("setting", "ALTER ROLE SET", "alter role leak_a set app.auth_token = '{}'", aPassword),
	says("setting", "SET of any name", "set app.anything = '{}'", ownText, "record"),
	says("setting", "SET SESSION AUTHORIZATION", "set session authorization '{}'", "it is the name of a role", "record"),
}

var leaksOfFunctions = []leak{
	says("function", "crypt", "select crypt('{}', gen_salt('bf'))", aPassword),
	says("function", "pgp_sym_encrypt", "select pgp_sym_encrypt('data', '{}')", aPassword),
	says("function", "pgp_sym_decrypt", "select pgp_sym_decrypt(null::bytea, '{}')", aPassword),
	says("function", "hmac", "select hmac('data', '{}', 'sha256')", aPassword),
	says("function", "encrypt", "select encrypt('data', '{}', 'aes')", aPassword),
	says("function", "an argument of a name that tells", "select open_vault(secret_key => '{}')", aPassword),
	says("function", "a header of a request", "select http_get('https://h/', http_header('Authorization', '{}'))", aPassword),
	says("function", "JSON with a key that tells", `select '{"user": "u", "api_key": "{}"}'::jsonb`, aPassword),
	says("function", "JSON with a token", `insert into notes values (1, '{"token":"{}"}')`, aPassword),
	says("function", "a private key", "select length('-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----')", aPassword),
	says("function", "what only tokens begin with", "select length('ghp_{}')", aPassword),
	says("function", "a JSON web token", "select length('eyJhbGciOiJIUzI1NiJ9.{}.x')", aPassword),
	says("function", "any argument", "select length('{}')", ownText, "record"),
}

var leaksOfTables = []leak{
	says("table", "INSERT into a column that tells", "insert into accounts (id, login, password) values (1, 'u', '{}')", aPassword),
	says("table", "UPDATE of a column that tells", "update accounts set api_key = '{}' where id = 1", aPassword),
	says("table", "WHERE on a column that tells", "select * from accounts where password = '{}'", aPassword),
	says("table", "INSERT without columns", "insert into accounts values (2, 'u', '{}', null)", ownText, "record"),
	says("table", "COPY from the client", "copy accounts (id, password) from stdin;\n3\t{}\n\\.\n", "what is copied in is not recorded"),
	says("table", "COPY from the client, of any column", "copy notes (body) from stdin;\n{}\n\\.\n", "what is copied in is not recorded"),
	says("table", "PREPARE and EXECUTE", "prepare leak_p(text) as update accounts set password = $1 where id = 1; execute leak_p('{}')", aPassword),
	{group: "table", name: "PREPARE, and EXECUTE later", say: "prepare leak_p(text) as update accounts set password = $1 where id = 1;\nexecute leak_p('{}');\nselect 1", why: aPassword},
	says("table", "PREPARE of what does not tell, and EXECUTE", "prepare leak_p(text) as select length($1);\nexecute leak_p('{}')", ownText, "record"),
	says("table", "a name in double quotes", `select 1 as "{}"`, "names are part of what is done", "record"),
	says("table", "a comment", "select 1 /* {} */", ownText, "record"),
	says("table", "a sqlcommenter claim", "select 1 /*task='{}'*/", "it is why the client says it asks", "record"),
	says("table", "a claim beside a secret", "select 1 as password /*task='{}'*/", "claims beside secrets are left out"),
	says("table", "NOTIFY", "notify leaks, '{}'", ownText, "record"),
}
