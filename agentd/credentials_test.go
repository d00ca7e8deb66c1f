package agentd_test

import (
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"agentd.dev/agentd"
	"agentd.dev/agentd/credentials"
	"agentd.dev/decoders"
)

func TestCredentialsAreRead(t *testing.T) {
	got, path, err := config(t, `
node: n
targets:
  - {name: a, address: "10.0.0.5:5432", protocol: postgres, credential: file}
  - {name: b, host: "b.internal:5432", protocol: postgres, credential: exec, label: session}
  - {name: c, address: "10.0.0.0/8:5432", protocol: postgres, label: off}
credentials:
  - {name: file, user: u, password: {file: secret}, methods: [md5, password], passwords: allow}
  - {name: env, userFile: /run/user, password: {env: A_B1}, methods: []}
  - {name: exec, password: {exec: {command: [bin/helper, "-x"], timeout: 2s, every: 1m, environment: [VAULT_ADDR]}}}
  - {name: short, user: u, password: {exec: {command: [/bin/helper]}}}
  - {name: none, user: u}
coreDumps: true
`)
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Dir(path)
	want := []credentials.Credential{
		{Name: "file", User: "u", File: filepath.Join(folder, "secret"), Methods: decoders.HashedPassword | decoders.PlainPassword, Passwords: true},
		{Name: "env", UserFile: "/run/user", Env: "A_B1"},
		{Name: "exec", Exec: &credentials.Helper{Command: []string{filepath.Join(folder, "bin/helper"), "-x"}, Timeout: 2 * time.Second, Every: time.Minute, Environment: []string{"VAULT_ADDR"}}},
		{Name: "short", User: "u", Exec: &credentials.Helper{Command: []string{"/bin/helper"}, Timeout: 5 * time.Second, Every: 5 * time.Minute}},
		{Name: "none", User: "u"},
	}
	if !reflect.DeepEqual(got.Credentials, want) || !got.CoreDumps {
		t.Errorf("got  %+v\nwant %+v", got.Credentials, want)
	}
	logins := []agentd.LoginConfig{{Credential: "file"}, {Credential: "exec", Label: agentd.LabelSession}, {Label: agentd.LabelOff}}
	for i, want := range logins {
		if got.Targets[i].Login != want {
			t.Errorf("target %d: got %+v, want %+v", i, got.Targets[i].Login, want)
		}
	}
}

func TestWhatIsWrongWithCredentialsIsReportedWithItsPlace(t *testing.T) {
	_, path, err := config(t, `
targets:
  - {name: a, address: "10.0.0.5:5432", protocol: postgres, credential: fiel, label: loud}
  - {name: b, address: "10.0.0.0/8:5432", protocol: postgres, credential: file}
credentials:
  - {name: file, user: u, password: {file: secret, env: X}}
  - {name: file, user: u}
  - {name: who, password: {env: X}}
  - {name: two, user: u, userFile: f, password: {}}
  - {name: "a b", user: "", password: hunter2}
  - {name: odd, user: u, password: {env: "A-B"}, methods: [scram], passwords: maybe}
  - {name: run, user: u, password: {exec: {command: [], timeout: 0s}}}
  - {name: runs, user: u, password: {exec: {comand: /bin/x, every: 0s}}}
`)
	compare(t, err, path, []string{
		`3:73: no credential is called "fiel"; did you mean "file"?`,
		`3:86: want "workload", "session" or "off", not "loud"`,
		"4:75: agentd logs in to one server, and 10.0.0.0/8 is many: list each address as a target, or name a `host`, or set `server: verify-full` under `tls`",
		"6:37: give one of `file`, `env` and `exec`; leave `password` out where there is none",
		`7:5: credential "file" again: names must differ`,
		"8:5: nobody to log in as: give `user`, or `userFile`, or a helper that says it",
		"9:5: both `user` and `userFile`: one says who to log in as",
		"9:49: give one of `file`, `env` and `exec`; leave `password` out where there is none",
		"10:5: nobody to log in as: give `user`, or `userFile`, or a helper that says it",
		`10:12: "a b" cannot name a credential: use letters, digits, dots, dashes and underscores`,
		`10:25: "" cannot be a user: give a name of 1 to 63 bytes`,
		"10:39: a password does not belong in this file: say where it is, with `file`, `env` or `exec`",
		`11:42: "A-B" cannot name a variable: use letters, digits and underscores`,
		`11:60: want "md5" or "password", not "scram"`,
		`11:79: want "deny" or "allow", not "maybe"`,
		`12:53: name a program and its arguments, as [/usr/local/bin/db-token, orders]`,
		`12:66: 0s is out of range: from 100ms to 1m0s`,
		`13:44: "command" is missing`,
		`13:45: unknown key "comand"; did you mean "command"?`,
		`13:68: 0s is out of range: from 1s to 24h0m0s`,
	})
}
