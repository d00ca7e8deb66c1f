// Command drain runs a statement on a PostgreSQL server that asks for no
// password, and reads all that comes back as fast as it can without looking
// at it. It prints how many bytes that were, and how long they took in
// microseconds. Its arguments are the address and the statement.
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"time"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: drain ADDRESS STATEMENT")
	}
	conn, err := net.Dial("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	r := bufio.NewReaderSize(conn, 256<<10)
	send(conn, 0, "\x00\x03\x00\x00user\x00postgres\x00database\x00postgres\x00\x00")
	drain(r)
	start := time.Now()
	send(conn, 'Q', os.Args[2]+"\x00")
	n := drain(r)
	fmt.Println(n, time.Since(start).Microseconds())
}

// send sends one message; the start-up message has no type.
func send(w io.Writer, typ byte, body string) {
	var b []byte
	if typ != 0 {
		b = append(b, typ)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(4+len(body)))
	if _, err := w.Write(append(b, body...)); err != nil {
		log.Fatal(err)
	}
}

// drain reads up to and with ReadyForQuery.
func drain(r *bufio.Reader) (bytes int64) {
	for {
		var head [5]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			log.Fatal(err)
		}
		size := int(binary.BigEndian.Uint32(head[1:])) - 4
		bytes += int64(5 + size)
		switch head[0] {
		case 'Z':
			if _, err := r.Discard(size); err != nil {
				log.Fatal(err)
			}
			return bytes
		case 'E':
			text := make([]byte, size)
			_, _ = io.ReadFull(r, text) // what there is of it
			log.Fatalf("the server says: %q", text)
		}
		if _, err := r.Discard(size); err != nil {
			log.Fatal(err)
		}
	}
}
