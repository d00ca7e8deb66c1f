package credentials_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"agentd.dev/agentd/credentials"
)

const secret = "s3cret-that-nobody-sees"

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask is
		t.Fatal(err)
	}
}

// store returns a store of one credential, called c.
func store(c credentials.Credential) *credentials.Store {
	s := new(credentials.Store)
	c.Name = "c"
	s.Use([]credentials.Credential{c})
	return s
}

// helper is a credential that a shell script says.
func helper(script string) credentials.Credential {
	return credentials.Credential{User: "u", Exec: &credentials.Helper{
		Command: []string{"/bin/sh", "-c", script}, Timeout: 10 * time.Second, Every: time.Hour,
	}}
}

func TestAFileIsReadAtEachFetch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	s := store(credentials.Credential{User: "u", File: path})
	for text, want := range map[string]string{
		"one\n": "one", "two": "two", "three\r\n": "three", "four\n\n": "four\n", " five ": " five ", strings.Repeat("x", 16<<10) + "\n": strings.Repeat("x", 16<<10),
	} {
		write(t, path, text, 0o600)
		l, err := s.Fetch(t.Context(), "c")
		if err != nil || l.User != "u" || l.Password.Reveal() != want {
			t.Errorf("%.20q: got %.20q, %v, want %.20q", text, l.Password.Reveal(), err, want)
		}
	}
}

// A Secret of Kubernetes is mounted as a folder of links to a folder that is
// swapped as a whole.
func TestASwapOfLinksIsFollowed(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"1", "2"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name, "password"), "password-"+name, 0o644)
	}
	link := func(to string) {
		t.Helper()
		if err := errors.Join(os.Symlink(to, filepath.Join(dir, "new")), os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "..data"))); err != nil {
			t.Fatal(err)
		}
	}
	link("1")
	if err := os.Symlink("..data/password", filepath.Join(dir, "password")); err != nil {
		t.Fatal(err)
	}
	s := store(credentials.Credential{User: "u", File: filepath.Join(dir, "password")})
	for _, name := range []string{"1", "2", "1"} {
		link(name)
		if l, err := s.Fetch(t.Context(), "c"); err != nil || l.Password.Reveal() != "password-"+name {
			t.Errorf("got %q, %v, want password-%s", l.Password.Reveal(), err, name)
		}
	}
	if got := s.States(t.Context())[0]; !strings.Contains(got.Warning, "can be read by others (mode 0644)") || got.Problem != "" {
		t.Errorf("got %+v, want a warning that others can read it", got)
	}
}

func TestAFileThatCannotBeTrustedIsRefused(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		name, text string
		mode       os.FileMode
		want       string
	}{
		{"open", secret, 0o622, "can be written by others (mode 0622): chmod go-w"},
		{"group", secret, 0o660, "can be written by others"},
		{"empty", "\n", 0o600, "the password is empty"},
		{"long", strings.Repeat(secret, 1000), 0o600, "longer than 16384 bytes"},
		{"zero", secret + "\x00" + secret, 0o600, "zero byte"},
		{"missing", "", 0, "no such file"},
		{"folder", "", 0, "is not a file"},
	} {
		path := filepath.Join(dir, tt.name)
		switch tt.name {
		case "missing":
		case "folder":
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		default:
			write(t, path, tt.text, tt.mode)
		}
		_, err := store(credentials.Credential{User: "u", File: path}).Fetch(t.Context(), "c")
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), `credential "c": `+path) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestAVariableIsTakenOutOfTheEnvironment(t *testing.T) {
	t.Setenv("CREDENTIALS_TEST", secret)
	s := store(credentials.Credential{User: "u", Env: "CREDENTIALS_TEST"})
	if value, set := os.LookupEnv("CREDENTIALS_TEST"); set {
		t.Errorf("the environment still has %q", value)
	}
	s.Use([]credentials.Credential{{Name: "again", User: "u", Env: "CREDENTIALS_TEST"}}) // as a reload does
	if l, err := s.Fetch(t.Context(), "again"); err != nil || l.Password.Reveal() != secret {
		t.Errorf("got %q, %v, want what the variable held", l.Password.Reveal(), err)
	}
	if _, err := store(credentials.Credential{User: "u", Env: "CREDENTIALS_NONE"}).Fetch(t.Context(), "c"); err == nil || !strings.Contains(err.Error(), "without the variable CREDENTIALS_NONE") {
		t.Errorf("got %v, want the variable named", err)
	}
}

func TestAHelperSaysAPasswordOrMore(t *testing.T) {
	soon := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	for _, tt := range []struct{ printed, user, password, want string }{
		{secret, "u", secret, ""},
		{secret + "\n", "u", secret, ""},
		{`{"password": "` + secret + `"}`, "u", secret, ""},
		{`{"user": "other", "password": "p", "ttl": 3600, "lease": "x"}`, "u", "p", ""}, // what the configuration says goes first
		{`{"password": "p", "expires": "` + soon.Format(time.RFC3339) + `"}`, "u", "p", ""},
		{`{"password": "p", "expires": "2001-01-01T00:00:00Z"}`, "", "", "has expired"},
		{`{"password": "` + secret + `"`, "", "", "begins as JSON and is not"},
		{`{"password": 7, "x": "` + secret + `"}`, "", "", "begins as JSON and is not"},
		{`{"user": "` + secret + `"}`, "", "", "is empty"},
		{"", "", "", "is empty"},
		{strings.Repeat(secret, 1000), "", "", "longer than"},
	} {
		path := filepath.Join(t.TempDir(), "printed")
		write(t, path, tt.printed, 0o600)
		l, err := store(helper("cat "+path)).Fetch(t.Context(), "c")
		if tt.want != "" {
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), secret) {
				t.Errorf("%.60q: got %v, want %q", tt.printed, err, tt.want)
			}
			continue
		}
		if err != nil || l.User != tt.user || l.Password.Reveal() != tt.password {
			t.Errorf("%.60q: got %q %q, %v, want %q %q", tt.printed, l.User, l.Password.Reveal(), err, tt.user, tt.password)
		}
	}
}

func TestAHelperThatFailsTellsNothingOfWhatItSaid(t *testing.T) {
	for _, tt := range []struct{ script, want string }{
		{"echo " + secret + "; echo " + secret + " >&2; exit 3", "helper sh ended with exit status 3"},
		{"echo " + secret + "; kill -9 $$", "ended with signal: killed"},
		{"yes " + secret, "printed more than 65536 bytes"},
		{"echo " + secret + "; sleep 60 & sleep 60", "took longer than 1s"},
		{"exec nothing-of-that-name", "exit status 127"},
	} {
		c := helper(tt.script)
		c.Exec.Timeout = time.Second
		s := store(c)
		start := time.Now()
		_, err := s.Fetch(t.Context(), "c")
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%q: got %v, want %q", tt.script, err, tt.want)
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%q: it took %v", tt.script, took)
		}
		if got := s.States(t.Context())[0]; !strings.Contains(got.Problem, tt.want) {
			t.Errorf("%q: the state is %+v, want what is wrong", tt.script, got)
		}
	}
	if _, err := store(credentials.Credential{User: "u", Exec: &credentials.Helper{Command: []string{"/nowhere/helper"}, Timeout: time.Second}}).Fetch(t.Context(), "c"); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v, want that there is no such helper", err)
	}
}

func TestAHelpersEnvironmentIsCleanAndItsInputEmpty(t *testing.T) {
	t.Setenv("HELPER_SEES", "this")
	t.Setenv("HELPER_DOES_NOT_SEE", secret)
	c := helper(`cat; pwd; env | grep -v -e ^PWD= -e ^_= -e ^SHLVL= -e ^OLDPWD= | sort | tr '\n' ' '`)
	c.Exec.Environment = []string{"HELPER_SEES", "HELPER_NONE"}
	l, err := store(c).Fetch(t.Context(), "c")
	if got, want := l.Password.Reveal(), "/\nHELPER_SEES=this PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"; err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

// counting is a helper that counts its runs in a file, and says which it is.
func counting(t *testing.T, more string) (c credentials.Credential, runs func() int) {
	path := filepath.Join(t.TempDir(), "runs")
	c = helper(fmt.Sprintf(`echo >> %[1]s; n=$(wc -l < %[1]s); %[2]s`, path, more))
	return c, func() int {
		text, _ := os.ReadFile(path)
		return strings.Count(string(text), "\n")
	}
}

func TestOneRunOfAHelperDoesForAllWhoWait(t *testing.T) {
	c, runs := counting(t, "sleep 0.3; echo p$n")
	s := store(c)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if l, err := s.Fetch(t.Context(), "c"); err != nil || l.Password.Reveal() != "p1" {
				t.Errorf("got %q, %v, want p1", l.Password.Reveal(), err)
			}
		})
	}
	all.Wait()
	if got := runs(); got != 1 {
		t.Errorf("the helper ran %d times, want once", got)
	}
}

func TestAHelperRunsAgainBeforeWhatItSaidExpires(t *testing.T) {
	c, runs := counting(t, `echo "{\"password\": \"p$n\", \"ttl\": 1000}"`)
	s := store(c)
	start := time.Now()
	for _, tt := range []struct {
		after time.Duration
		want  string
	}{{0, "p1"}, {939 * time.Second, "p1"}, {940 * time.Second, "p2"}, {1800 * time.Second, "p2"}} {
		credentials.SetClock(s, func() time.Time { return start.Add(tt.after) })
		if l, err := s.Fetch(t.Context(), "c"); err != nil || l.Password.Reveal() != tt.want {
			t.Errorf("after %v: got %q, %v, want %q", tt.after, l.Password.Reveal(), err, tt.want)
		}
	}
	if got := runs(); got != 2 {
		t.Errorf("the helper ran %d times, want twice", got)
	}
}

func TestARejectedPasswordIsNotUsedAgain(t *testing.T) {
	c, _ := counting(t, "echo p$n")
	s := store(c)
	l, err := s.Fetch(t.Context(), "c")
	if err != nil {
		t.Fatal(err)
	}
	l.Rejected()
	if l, err := s.Fetch(t.Context(), "c"); err != nil || l.Password.Reveal() != "p1" {
		t.Errorf("at once: got %q, %v, want p1: a crowd that is rejected asks once a second", l.Password.Reveal(), err)
	}
	credentials.SetClock(s, func() time.Time { return time.Now().Add(time.Second) })
	for range 2 {
		if l, err := s.Fetch(t.Context(), "c"); err != nil || l.Password.Reveal() != "p2" {
			t.Errorf("got %q, %v, want p2", l.Password.Reveal(), err)
		}
	}
}

func TestAFailureIsNotTriedAgainAtOnceButSoon(t *testing.T) {
	c, runs := counting(t, "exit 1")
	s := store(c)
	now := time.Now()
	credentials.SetClock(s, func() time.Time { return now })
	for range 3 {
		if _, err := s.Fetch(t.Context(), "c"); err == nil {
			t.Error("a helper that fails is believed")
		}
	}
	if got := runs(); got != 1 {
		t.Errorf("the helper ran %d times at once, want once", got)
	}
	now = now.Add(1100 * time.Millisecond)
	_, _ = s.Fetch(t.Context(), "c")
	if got := runs(); got != 2 {
		t.Errorf("the helper ran %d times after a second, want twice", got)
	}
}

func TestWhatIsConfiguredAsBeforeKeepsWhatWasFetched(t *testing.T) {
	c, runs := counting(t, "echo p$n")
	c.Name = "c"
	s := new(credentials.Store)
	for range 3 {
		again := c
		h := *c.Exec
		again.Exec = &h
		s.Use([]credentials.Credential{again})
		if _, err := s.Fetch(t.Context(), "c"); err != nil {
			t.Fatal(err)
		}
	}
	if got := runs(); got != 1 {
		t.Errorf("the helper ran %d times, want once", got)
	}
	s.Use(nil)
	if _, err := s.Fetch(t.Context(), "c"); !errors.Is(err, credentials.ErrUnknown) {
		t.Errorf("got %v, want ErrUnknown", err)
	}
}

func TestAWaitForAHelperEndsWithItsContext(t *testing.T) {
	c, _ := counting(t, "sleep 2; echo p")
	s := store(c)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	var running sync.WaitGroup
	running.Go(func() { _, _ = s.Fetch(t.Context(), "c") })
	defer running.Wait()
	start := time.Now()
	if _, err := s.Fetch(ctx, "c"); err == nil || time.Since(start) > 1500*time.Millisecond {
		t.Errorf("got %v after %v, want an error when the context ends", err, time.Since(start))
	}
}

func TestPasswordsArePreparedAsServersPrepareThem(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	for password, want := range map[string]string{
		"plain": "", "with space": "", "ª\u2168\u00a0x": "aIX x", "a\u00adb": "ab", "\u2168": "IX",
		"bell\a": "", "\xff\xfe": "", "\u0627\u0031": "", // not allowed, so taken as they are
	} {
		write(t, path, password, 0o600)
		l, err := store(credentials.Credential{User: "u", File: path}).Fetch(t.Context(), "c")
		if err != nil || l.Prepared.Reveal() != want || l.Password.Reveal() != password {
			t.Errorf("%q: got %q, %v, want %q", password, l.Prepared.Reveal(), err, want)
		}
	}
}

func TestKeysAreOfOnePasswordAtOneServer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	s := store(credentials.Credential{User: "u", File: path})
	keys := func(password string) credentials.Login {
		write(t, path, password, 0o600)
		l, err := s.Fetch(t.Context(), "c")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	one, other := keys("one"), keys("other")
	one.Keys().Keep([]byte("salt"), 4096, []byte("key"))
	if key, ok := one.Keys().Known([]byte("salt"), 4096); !ok || string(key) != "key" {
		t.Errorf("got %q, %v, want the key that was kept", key, ok)
	}
	for name, known := range map[string]bool{
		"another password":   has(other, "salt", 4096),
		"another salt":       has(one, "pepper", 4096),
		"another number":     has(one, "salt", 4097),
		"one letter shifted": has(one, "sal", 4096),
	} {
		if known {
			t.Errorf("%s has the same key", name)
		}
	}
}

func has(l credentials.Login, salt string, iterations int) bool {
	_, ok := l.Keys().Known([]byte(salt), iterations)
	return ok
}

func TestASecretIsNotPrintedByAccident(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	write(t, path, secret, 0o600)
	l, err := store(credentials.Credential{User: "u", File: path}).Fetch(t.Context(), "c")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("login", "login", l, "password", l.Password)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("login", "login", l, "password", l.Password)
	p := l.Password
	got := fmt.Sprint(p, &p, l, &l) + fmt.Sprintf("%v %+v %#v %s %q %x %X %d", p, p, p, p, p, p, p, p) + fmt.Sprintf("%v %+v %#v", l, l, l) + string(text) + log.String()
	if strings.Contains(got, secret) || strings.Contains(got, fmt.Sprintf("%x", secret)) {
		t.Errorf("the secret is in %s", got)
	}
}
