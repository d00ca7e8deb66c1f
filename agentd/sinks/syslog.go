package sinks

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A Syslog is a sink that gets records as syslog messages (RFC 5424) over TLS (RFC
// 5425).
type Syslog struct {
	Address  string // HOST:PORT
	Facility int    // 0 to 23
	ID       string // of the structured data, as agentd@32473
	Max      int    // bytes of a message
	TLS      TLS
}

// A syslogger brings each batch on a connection of its own. Syslog has no answer
// that says what was received. But whoever receives answers the end of the stream,
// close_notify, by its own, and has read by then all that was before it (RFC 5425,
// 4.4): a batch counts as brought when that has come.
type syslogger struct {
	*Syslog
	node, version, pid string
}

func newSyslog(c *Syslog, o *Options) *syslogger {
	return &syslogger{c, o.Node, o.Version, strconv.Itoa(os.Getpid())}
}

func (s *syslogger) close() {}

func (s *syslogger) send(ctx context.Context, batch []Record) error {
	config, err := s.TLS.config()
	if err != nil {
		return err
	}
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: dialling}, Config: config}
	conn, err := dialer.DialContext(ctx, "tcp", s.Address)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	var buf bytes.Buffer
	for i := range batch {
		message := s.message(&batch[i])
		fmt.Fprintf(&buf, "%d ", len(message)) // octet counting: RFC 5425, 4.3
		buf.Write(message)
	}
	if _, err := conn.Write(buf.Bytes()); err != nil {
		return err
	}
	if err := conn.(*tls.Conn).CloseWrite(); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, io.LimitReader(conn, 64<<10)); err != nil {
		if ctx.Err() != nil {
			return errors.New("it does not say that it has read all: it leaves the connection open when that is ended")
		}
		return err
	}
	return nil
}

// priorities are what grades are in syslog: RFC 5424, table 2.
var priorities = [...]int{routine: 6, notable: 5, warning: 4, trouble: 3}

// message is a record as RFC 5424 says, at most Max bytes of it. Where that is not
// all of the statement, the parameter cut has its length.
func (s *syslogger) message(r *Record) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "<%d>1 %s %s agentd %s %s ", s.Facility*8+priorities[gradeOf(r)],
		r.Time.UTC().Format("2006-01-02T15:04:05.000000Z07:00"), word(s.node, 255), s.pid, word(r.Type, 32))
	b.WriteString("[" + s.ID)
	for _, p := range parameters(r) {
		if p.value != "" {
			fmt.Fprintf(&b, ` %s="%s"`, p.name, escaped(p.value))
		}
	}
	text := summary(r)
	if r.SQL != "" && r.Type != "note" {
		text += ": " + r.SQL
	}
	text = strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", "\uFFFD"), "\uFFFD")
	const bom, end = "\xEF\xBB\xBF", "] "
	if room := s.Max - b.Len() - len(end) - len(bom); len(text) > room {
		said := fmt.Sprintf(` cut="%d"`, len(text))
		b.WriteString(said)
		text = front(text, max(0, room-len(said)))
	}
	b.WriteString(end + bom + text)
	return b.Bytes()
}

// maxParameter bounds a value, so that all of them fit the smallest message.
const maxParameter = 96

type parameter struct{ name, value string }

// parameters are a record's structured data.
func parameters(r *Record) []parameter {
	number := func(n int64) string {
		if n == 0 {
			return ""
		}
		return strconv.FormatInt(n, 10)
	}
	list := []parameter{
		{"index", strconv.FormatInt(r.Index, 10)},
		{"leaf", hex.EncodeToString(r.Leaf[:])},
		{"session", r.ID},
		{"seq", number(int64(r.Seq))},
		{"verdict", r.Verdict},
		{"rule", r.Rule},
		{"reason", r.Reason},
		{"code", r.Code},
		{"approval", r.Approval},
		{"rows", number(r.Rows)},
		{"affected", number(r.Affected)},
		{"masked", number(r.Masked)},
	}
	if s := r.Session; s != nil {
		list = append(list, parameter{"workload", s.Workload}, parameter{"namespace", s.Namespace}, parameter{"pod", s.Pod},
			parameter{"target", s.Target}, parameter{"user", s.User}, parameter{"database", s.Database})
	}
	return list
}

// escaped is a value as it stands in quotes: RFC 5424, 6.3.3.
func escaped(value string) string {
	value = front(strings.ToValidUTF8(value, "\uFFFD"), maxParameter)
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, `]`, `\]`, "\n", " ", "\r", " ", "\x00", " ").Replace(value)
}

// word is text as a header has it: printable ASCII without spaces.
func word(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, text)
	if text == "" {
		return "-"
	}
	return text[:min(len(text), most)]
}

// front is at most n bytes of text, whole runes.
func front(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}
