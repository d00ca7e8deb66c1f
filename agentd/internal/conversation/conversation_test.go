package conversation_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"agentd.dev/agentd/internal/conversation"
	"agentd.dev/agentd/internal/conversation/script"
	"agentd.dev/agentd/internal/lab"
)

// What is compared between direct and captured sessions must not differ
// between two direct ones.
func TestTwoDirectConversationsHaveTheSameTranscript(t *testing.T) {
	server := lab.Postgres(t)
	server.SQL(t, conversation.Fixture)
	for _, client := range conversation.Clients {
		t.Run(client.Name, func(t *testing.T) {
			first := client.Transcript(t, client.Cmd(t, server))
			second := client.Transcript(t, client.Cmd(t, server))
			keep(t, client.Name, first)
			if diff := conversation.Difference(second, first); diff != "" {
				t.Errorf("the second transcript differs from the first: %s", diff)
			}
		})
	}
}

// keep writes a transcript to the folder $TRANSCRIPTS, for people to read.
func keep(t *testing.T, name string, transcript []byte) {
	t.Helper()
	dir := os.Getenv("TRANSCRIPTS")
	if dir == "" {
		return
	}
	path := filepath.Join(dir, strings.ReplaceAll(name, "/", "-"))
	if err := os.WriteFile(path, transcript, 0o644); err != nil {
		t.Error(err)
	}
}

func TestTheScriptIsLongEnough(t *testing.T) {
	if got := len(script.Statements()); got < 40 {
		t.Errorf("the script has %d statements, want at least 40", got)
	}
}
