package main

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// login starts the session, and prints what it is told until it is ready for
// queries.
func (s *server) login(parameters []string) error {
	text := "user\x00" + os.Getenv("PGUSER") + "\x00database\x00" + os.Getenv("PGDATABASE") + "\x00"
	for _, p := range parameters {
		text += p + "\x00"
	}
	if _, err := s.Write(startup(3<<16, []byte(text+"\x00"))); err != nil {
		return err
	}
	exchange := scram{password: os.Getenv("PGPASSWORD"), nonce: rand.Text()}
	for {
		kind, payload, err := s.message()
		if err != nil {
			return err
		}
		switch kind {
		case 'R':
			answer, err := exchange.answer(payload)
			if err != nil {
				return err
			}
			fmt.Fprintf(s.print, "R %d\n", binary.BigEndian.Uint32(payload))
			if _, err := s.Write(answer); err != nil {
				return err
			}
		case 'K':
			s.key = payload
			fmt.Fprintf(s.print, "K %d\n", len(payload))
		case 'Z':
			s.printMessage(kind, payload)
			return nil
		case 'E':
			return fmt.Errorf("login refused: %q", payload)
		default:
			s.printMessage(kind, payload)
		}
	}
}

// A scram is a login by SCRAM-SHA-256 (RFC 5802, RFC 7677) without channel
// binding.
type scram struct {
	password, nonce string
	first           string // client-first-message-bare
}

// answer returns the message that answers an Authentication message, nil for
// those that want none.
func (x *scram) answer(payload []byte) ([]byte, error) {
	text := string(payload[4:])
	switch kind := binary.BigEndian.Uint32(payload); kind {
	case 10: // AuthenticationSASL
		x.first = "n=,r=" + x.nonce
		first := "n,," + x.first
		b := append([]byte("SCRAM-SHA-256\x00"), binary.BigEndian.AppendUint32(nil, uint32(len(first)))...)
		return message('p', append(b, first...)), nil
	case 11: // AuthenticationSASLContinue
		return x.proof(text)
	case 0, 12: // AuthenticationOk, AuthenticationSASLFinal
		return nil, nil
	default:
		return nil, fmt.Errorf("authentication of kind %d", kind)
	}
}

func (x *scram) proof(serverFirst string) ([]byte, error) {
	fields := map[byte]string{}
	for f := range strings.SplitSeq(serverFirst, ",") {
		if len(f) > 2 {
			fields[f[0]] = f[2:]
		}
	}
	salt, err := base64.StdEncoding.DecodeString(fields['s'])
	if err != nil {
		return nil, err
	}
	rounds, err := strconv.Atoi(fields['i'])
	if err != nil {
		return nil, err
	}
	salted, err := pbkdf2.Key(sha256.New, x.password, salt, rounds, sha256.Size)
	if err != nil {
		return nil, err
	}
	final := "c=biws,r=" + fields['r'] // biws is base64 of "n,,"
	clientKey := mac(salted, "Client Key")
	storedKey := sha256.Sum256(clientKey)
	proof := mac(storedKey[:], x.first+","+serverFirst+","+final)
	subtle.XORBytes(proof, proof, clientKey)
	return message('p', []byte(final+",p="+base64.StdEncoding.EncodeToString(proof))), nil
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
