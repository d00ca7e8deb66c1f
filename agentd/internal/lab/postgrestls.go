package lab

import (
	"os"
	"path/filepath"
	"testing"
)

// OverTLS makes the server offer TLS with a certificate. It takes certificates
// of clients that clientCA signed, a file; "" for none.
func OverTLS(pair KeyPair, clientCA string) PostgresOption {
	return func(s *postgresSetup) {
		s.settings = append(s.settings, "ssl=on", "ssl_cert_file=server.crt", "ssl_key_file=server.key")
		s.files = append(s.files, dataFile{pair.Cert, "server.crt"}, dataFile{pair.Key, "server.key"})
		if clientCA != "" {
			s.settings = append(s.settings, "ssl_ca_file=clients.crt")
			s.files = append(s.files, dataFile{clientCA, "clients.crt"})
		}
	}
}

// Access replaces the lines of pg_hba.conf for connections over TCP, as
// "hostssl all all all scram-sha-256".
func Access(lines string) PostgresOption {
	return func(s *postgresSetup) { s.access = lines }
}

// A dataFile is copied into a server's data folder.
type dataFile struct{ from, name string }

// furnish puts into the data folder what the options ask for.
func (s *postgresSetup) furnish(t testing.TB, data string, owner credential) {
	t.Helper()
	put := func(name string, text []byte) {
		path := filepath.Join(data, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, owner.uid, owner.gid); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range s.files {
		text, err := os.ReadFile(f.from)
		if err != nil {
			t.Fatal(err)
		}
		put(f.name, text)
	}
	if s.access != "" {
		put("pg_hba.conf", []byte("local all postgres trust\n"+s.access+"\n"))
	}
}
