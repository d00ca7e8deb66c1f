package grammar_test

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"agentd.dev/agentd/grammar/walk"
	"agentd.dev/agentd/internal/lab"
	"agentd.dev/decoders/sql"
)

// syntaxError is the server's code for a text that its grammar rejects.
const syntaxError = "42601"

// What the server's grammar takes, it takes without its literals, too; and so
// does the one that the workers have, and it means the same.
func TestTheSkeletonOfWhatAServerAcceptsIsAccepted(t *testing.T) {
	text, err := os.ReadFile("testdata/statements.sql")
	if err != nil {
		t.Fatal(err)
	}
	server := lab.Postgres(t)
	conn, err := pgconn.Connect(t.Context(), fmt.Sprintf("host=%s port=%d user=%s password=%s dbname=%s", server.Addr.Addr(), server.Addr.Port(), server.User, server.Password, server.Database))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	statements := strings.Split(strings.TrimSpace(string(text)), "\n\n")
	both := 0
	for _, statement := range statements {
		f := sql.NewAnalyzer(nil).Analyze([]byte(statement))
		skeleton := f.Skeleton()
		if len(f.Key) == 0 {
			t.Errorf("%s\nhas no key: %s", statement, f.Unclassified)
			continue
		}
		// Either may be older than some statements.
		byServer, byWorker := parse(t, conn, statement), walk.Read(statement).Unclear
		if byServer != nil && byWorker != "" {
			t.Errorf("%s\nis accepted by nobody: %v; workers say: %s", statement, byServer, byWorker)
		}
		switch got, want := walk.Read(skeleton), walk.Read(statement); {
		case got.Unclear != "":
			t.Errorf("%s\n%s\nworkers say: %s", statement, skeleton, got.Unclear)
		case byWorker == "" && !reflect.DeepEqual(got, want):
			t.Errorf("%s\n%s\nmean different things:\n%+v\n%+v", statement, skeleton, want, got)
		}
		if byServer != nil {
			continue
		}
		if err := parse(t, conn, skeleton); err != nil {
			t.Errorf("%s\n%s\nthe server says: %v", statement, skeleton, err)
		}
		both++
	}
	if both < 250 {
		t.Errorf("the server accepts %d of %d statements, want 250 at least to say something", both, len(statements))
	}
}

// parse has the server parse a statement. What is wrong with its meaning alone
// is no error.
func parse(t *testing.T, conn *pgconn.PgConn, text string) error {
	t.Helper()
	_, err := conn.Prepare(t.Context(), "", text, nil)
	var said *pgconn.PgError
	if errors.As(err, &said) && said.Code != syntaxError {
		return nil
	}
	return err
}
