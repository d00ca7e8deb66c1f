package decodertest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"agentd.dev/decoders"
)

// A Chunk is what one side sent before the other side spoke.
type Chunk struct {
	Dir   decoders.Dir
	Bytes []byte
}

// A Conversation is what a client and a server said to each other, without
// agentd, in the order of cause and effect.
type Conversation struct {
	Name   string
	Chunks []Chunk
	// Loop is what both may go on saying for ever after Chunks, in whole
	// messages: the path that must not allocate. It may be empty.
	Loop []Chunk
	// Injected: the server also answers what the decoder asked of its own
	// accord when this was recorded, so that promise 2 cannot hold.
	Injected bool
}

// Client makes a chunk that the client sent.
func Client(b string) Chunk { return Chunk{decoders.FromClient, []byte(b)} }

// Server makes a chunk that the server sent.
func Server(b string) Chunk { return Chunk{decoders.FromServer, []byte(b)} }

// whole returns everything that goes in direction dir.
func (c *Conversation) whole(dir decoders.Dir) []byte {
	var all []byte
	for _, chunk := range c.Chunks {
		if chunk.Dir == dir {
			all = append(all, chunk.Bytes...)
		}
	}
	return all
}

// Read reads the conversations in the files that match pattern.
func Read(t testing.TB, pattern string) []Conversation {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no conversations in %s (%v)", pattern, err)
	}
	var cs []Conversation
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		c, err := Parse(filepath.Base(file), string(text))
		if err != nil {
			t.Fatal(err)
		}
		cs = append(cs, c)
	}
	return cs
}

// Parse reads a conversation from text. A line is > or <, for what the client
// or the server says, and a Go string literal; lines that follow each other in
// one direction are one chunk. A line "loop" comes before what may be
// repeated. Empty lines and lines that begin with # are for people.
func Parse(name, text string) (Conversation, error) {
	c := Conversation{Name: name}
	into := &c.Chunks
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if line == "loop" {
			into = &c.Loop
			continue
		}
		dir := decoders.FromClient
		switch line[0] {
		case '>':
		case '<':
			dir = decoders.FromServer
		default:
			return c, fmt.Errorf("%s:%d: a line begins with >, <, # or is loop", name, i+1)
		}
		said, err := strconv.Unquote(strings.TrimSpace(line[1:]))
		if err != nil {
			return c, fmt.Errorf("%s:%d: what is said must be a Go string literal: %w", name, i+1, err)
		}
		if n := len(*into); n > 0 && (*into)[n-1].Dir == dir {
			(*into)[n-1].Bytes = append((*into)[n-1].Bytes, said...)
			continue
		}
		*into = append(*into, Chunk{dir, []byte(said)})
	}
	return c, nil
}
