package postgres

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"agentd.dev/decoders"
)

// The example of RFC 7677, section 3. What agentd itself sends has no name of a
// user in it, as libpq has it: the name is put in for the test.
func TestSCRAMSaysWhatTheExampleOfTheRFCSays(t *testing.T) {
	const nonce, signature = "rOprNGfwEbeRWgbNEkqO", "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
	s := newSCRAM(false, nil, nonce)
	if got, want := string(s.first()), "n,,n=,r="+nonce; got != want {
		t.Errorf("first says %q, want %q", got, want)
	}
	s.firstBare = []byte("n=user,r=" + nonce)
	if err := s.challenge([]byte("r=" + nonce + "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")); err != nil {
		t.Fatal(err)
	}
	want := "c=biws,r=" + nonce + "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
	if got := string(s.final(s.key("pencil"))); got != want {
		t.Errorf("final says\n%s, want\n%s", got, want)
	}
	if err := s.verify([]byte("v=" + signature)); err != nil {
		t.Error(err)
	}
	wrong := strings.Replace(signature, "6", "7", 1)
	for _, last := range []string{"", "v=", "v=" + wrong, "v=" + signature + ",x=1", "v=" + signature[:20], "e=other-error", strings.Repeat("v=a", 100)} {
		if err := s.verify([]byte(last)); err == nil {
			t.Errorf("%q was taken for the server's signature", last)
		}
	}
}

func TestSCRAMTellsWhetherTheChannelIsBound(t *testing.T) {
	hash := []byte{1, 2, 3}
	for _, tt := range []struct {
		plus    bool
		binding []byte
		want    string
	}{
		{false, nil, "n,,"},
		{false, hash, "y,,"},
		{true, hash, "p=tls-server-end-point,,"},
	} {
		s := newSCRAM(tt.plus, tt.binding, "x")
		if got := string(s.first()); !strings.HasPrefix(got, tt.want+"n=,") {
			t.Errorf("plus %v, binding %v: %q, want it to begin with %q", tt.plus, tt.binding, got, tt.want)
		}
		if got := bytes.Contains(s.final(make([]byte, 32)), []byte("c=cD10bHMtc2VydmVyLWVuZC1wb2ludCwsAQID,")); got != tt.plus {
			t.Errorf("plus %v: the certificate's hash is told: %v", tt.plus, got)
		}
	}
}

func TestSCRAMRefusesWhatNoServerSays(t *testing.T) {
	long := strings.Repeat("a", 2000)
	for _, msg := range []string{
		"", "r=", "r=mine,s=c2FsdA==,i=4096", "r=other,s=c2FsdA==,i=4096", "r=mine" + long + ",s=c2FsdA==,i=4096",
		"r=mine x,s=c2FsdA==,i=4096", "m=x,r=mineX,s=c2FsdA==,i=4096",
		"r=mineX", "r=mineX,s=,i=4096", "r=mineX,s=c2Fsd,i=4096", "r=mineX,s=c2Fs\ndA==,i=4096", "r=mineX,s=" + long + ",i=4096",
		"r=mineX,s=c2FsdA==", "r=mineX,s=c2FsdA==,i=", "r=mineX,s=c2FsdA==,i=0", "r=mineX,s=c2FsdA==,i=-1", "r=mineX,s=c2FsdA==,i=1",
		"r=mineX,s=c2FsdA==,i=4095", "r=mineX,s=c2FsdA==,i=1000001", "r=mineX,s=c2FsdA==,i=99999999999999999999",
		"r=mineX,s=c2FsdA==,i=4096,x=1", "r=mineX,s=c2FsdA==,i=4096x", "r=mineX,s=c2FsdA==,i=4096,",
	} {
		if err := newSCRAM(false, nil, "mine").challenge([]byte(msg)); err == nil {
			t.Errorf("%q was taken for a challenge", msg[:min(len(msg), 60)])
		}
	}
	if err := newSCRAM(false, nil, "mine").challenge([]byte("r=mineX,s=c2FsdA==,i=4096")); err != nil {
		t.Error(err)
	}
}

// FuzzSCRAM lets a server say anything in answer to agentd's login. The only
// way in is a signature that nobody can guess, or a server that asks nothing.
func FuzzSCRAM(f *testing.F) {
	for _, seed := range []string{
		"R\x00\x00\x00\x17\x00\x00\x00\x0aSCRAM-SHA-256\x00\x00R\x00\x00\x00\x20\x00\x00\x00\x0br=x,s=c2FsdA==,i=4096",
		"R\x00\x00\x00\x17\x00\x00\x00\x0aSCRAM-SHA-256\x00\x00R\x00\x00\x00\x08\x00\x00\x00\x00",
		"R\x00\x00\x00\x08\x00\x00\x00\x03", "R\x00\x00\x00\x0c\x00\x00\x00\x05salt", "R\x00\x00\x00\x08\x00\x00\x00\x07",
		"E\x00\x00\x00\x10SFATAL\x00C28P01\x00\x00", "N\x00\x00\x00\x05\x00", "v\x00\x00\x00\x0c\x00\x00\x00\x00\x00\x00\x00\x00",
	} {
		f.Add([]byte(seed))
	}
	const secret = "hunter2-and-more"
	f.Fuzz(func(t *testing.T, said []byte) {
		d := newDecoder(decoders.Want{Account: &decoders.Account{Credential: "c", User: "u", Password: secret}})
		d.phase = loggingIn
		for len(said) > 0 && d.phase == loggingIn {
			before := d.account
			step, err := d.Next(decoders.FromServer, said)
			if err != nil {
				if strings.Contains(err.Error(), secret) {
					t.Fatalf("the secret is in %q", err)
				}
				return
			}
			for _, out := range [][]byte{step.Out, step.Back} {
				if bytes.Contains(out, []byte(secret)) {
					t.Fatalf("the secret is in %q", out)
				}
			}
			if d.account.admitted && !before.admitted && before.scram != nil && !before.verified {
				t.Fatal("a server was believed that did not end SCRAM")
			}
			if step.Op != decoders.Pass && step.Op != decoders.Drop {
				return
			}
			said = said[min(step.N, len(said)):]
		}
	})
}

// FuzzStartup lets a client say anything of itself. What goes out in its place
// is a StartupMessage, of the account's user alone.
func FuzzStartup(f *testing.F) {
	for _, seed := range []string{
		"user\x00x\x00\x00", "user\x00x\x00database\x00d\x00user\x00y\x00\x00", "\x00", "USER\x00a\x00application_name\x00\xff\xfe\x00_pq_.x\x00y\x00\x00",
		"options\x00-c a=b\x00replication\x00false\x00\x00", "user", "a\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, params []byte) {
		if len(params) > 2*maxStartup {
			return
		}
		msg := binary.BigEndian.AppendUint32(nil, uint32(8+len(params)))
		msg = append(append(msg, 0, 3, 0, 2), params...)
		d := newDecoder(decoders.Want{Account: &decoders.Account{Credential: "c", User: "account", Label: "label"}})
		step, err := d.Next(decoders.FromClient, msg)
		if err != nil {
			return
		}
		if step.Op != decoders.Ask || step.N != 1 || len(step.Out) > 0 {
			t.Fatalf("got %+v, want one byte asked about", step)
		}
		if step, err = d.Next(decoders.FromClient, msg[1:]); err != nil || step.Op != decoders.Drop || step.N != len(msg)-1 {
			t.Fatalf("got %+v, %v, want the rest dropped", step, err)
		}
		sent := append(msg[:1:1], step.Out...)
		if int(binary.BigEndian.Uint32(sent)) != len(sent) || len(sent) > maxStartup || !bytes.Equal(sent[4:8], msg[4:8]) {
			t.Fatalf("%q is no start-up message of the version asked for", sent)
		}
		for p, err := range parameters(sent) {
			if err != nil {
				t.Fatalf("%q: %v", sent, err)
			}
			if name := strings.ToLower(string(p.name)); name == "user" && string(p.value) != "account" || name == "application_name" && !strings.HasPrefix(string(p.value), "label") {
				t.Fatalf("%q has %s %q", sent, p.name, p.value)
			}
		}
	})
}
