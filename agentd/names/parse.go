package names

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// What is looked at of one message.
const (
	maxRecords   = 64
	maxAliases   = 16
	maxAddresses = 32
)

// An answer is what a DNS message says of one name.
type answer struct {
	name      string // that was asked for
	addresses []netip.Addr
	ttl       time.Duration // the shortest of the records that lead to the addresses
}

var errNoAnswer = errors.New("it answers no question for an address")

// parse reads a DNS message that may be anything. Only records that the
// question leads to count, directly or by aliases. Of a message that was cut
// off, what is there counts.
func parse(message []byte) (answer, error) {
	var p dnsmessage.Parser
	head, err := p.Start(message)
	if err != nil {
		return answer{}, err
	}
	q, err := p.Question()
	if err != nil {
		return answer{}, err
	}
	name, ok := hostName(q.Name)
	asksAddress := q.Type == dnsmessage.TypeA || q.Type == dnsmessage.TypeAAAA
	if !head.Response || head.OpCode != 0 || head.RCode != dnsmessage.RCodeSuccess || q.Class != dnsmessage.ClassINET || !asksAddress || !ok {
		return answer{}, errNoAnswer
	}
	if _, err := p.Question(); !errors.Is(err, dnsmessage.ErrSectionDone) {
		return answer{}, errNoAnswer
	}
	found := sortRecords(records(&p), strings.ToLower(q.Name.String()))
	if len(found.addresses) == 0 {
		return answer{}, errNoAnswer
	}
	found.name = name
	return found, nil
}

// A record is one that can lead to an address.
type record struct {
	owner   string
	alias   string     // of a CNAME
	address netip.Addr // of an A or AAAA
	ttl     time.Duration
}

// records reads the answer section, as far as it can be read.
func records(p *dnsmessage.Parser) (all []record) {
	for range maxRecords {
		head, err := p.AnswerHeader()
		if err != nil {
			return all
		}
		r := record{owner: strings.ToLower(head.Name.String()), ttl: time.Duration(head.TTL) * time.Second}
		switch {
		case head.Class != dnsmessage.ClassINET:
			err = p.SkipAnswer()
		case head.Type == dnsmessage.TypeA:
			var a dnsmessage.AResource
			a, err = p.AResource()
			r.address = netip.AddrFrom4(a.A)
		case head.Type == dnsmessage.TypeAAAA:
			var a dnsmessage.AAAAResource
			a, err = p.AAAAResource()
			r.address = netip.AddrFrom16(a.AAAA).Unmap()
		case head.Type == dnsmessage.TypeCNAME:
			var c dnsmessage.CNAMEResource
			c, err = p.CNAMEResource()
			r.alias = strings.ToLower(c.CNAME.String())
		default:
			err = p.SkipAnswer()
		}
		if err != nil {
			return all
		}
		all = append(all, r)
	}
	return all
}

// sortRecords follows the aliases of name, in whatever order the records are,
// and gathers the addresses at their end.
func sortRecords(all []record, name string) (a answer) {
	a.ttl = 1<<31 - 1
	chain := []string{name}
	for i := 0; i < len(chain) && len(chain) < maxAliases; i++ {
		for _, r := range all {
			if r.alias != "" && r.owner == chain[i] && !slices.Contains(chain, r.alias) {
				chain, a.ttl = append(chain, r.alias), min(a.ttl, r.ttl)
			}
		}
	}
	for _, r := range all {
		if r.address.IsValid() && slices.Contains(chain, r.owner) && len(a.addresses) < maxAddresses {
			a.addresses, a.ttl = append(a.addresses, r.address), min(a.ttl, r.ttl)
		}
	}
	return a
}

// hostName returns a DNS name as people write it, without the dot at its end,
// and whether it is one a host can have: what is kept is shown on terminals and
// compared with what people wrote.
func hostName(n dnsmessage.Name) (string, bool) {
	name := strings.ToLower(strings.TrimSuffix(n.String(), "."))
	return name, IsHost(name)
}

// IsHost reports whether name, in small letters, can be the name of a host:
// labels of letters, digits, dashes and underscores.
func IsHost(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}
