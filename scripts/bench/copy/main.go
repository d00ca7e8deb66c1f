// Command copy forwards TCP connections with io.Copy and two goroutines each:
// the forwarder one writes first in Go.
package main

import (
	"io"
	"log"
	"net"
	"os"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: copy LISTENADDRESS TARGETADDRESS")
	}
	l, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	for {
		client, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go forward(client.(*net.TCPConn), os.Args[2])
	}
}

func forward(client *net.TCPConn, target string) {
	conn, err := net.Dial("tcp", target)
	if err != nil {
		log.Print(err)
		client.Close()
		return
	}
	server := conn.(*net.TCPConn)
	done := make(chan struct{})
	go func() {
		pump(server, client)
		close(done)
	}()
	pump(client, server)
	<-done
	client.Close()
	server.Close()
}

// pump copies until from ends, and tells to of the end.
func pump(to, from *net.TCPConn) {
	_, _ = io.Copy(to, from) // a broken connection ends like a finished one
	_ = to.CloseWrite()
}
