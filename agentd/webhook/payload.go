package webhook

import (
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"
)

// A payload is what is sent: what Slack shows, and all there is to know for
// programs.
type payload struct {
	Text   string  `json:"text"`
	Blocks []block `json:"blocks"`
	Agentd told    `json:"agentd"`
}

// Told is a notice as programs read it. Version is 1; it rises when something
// in it changes its meaning.
type told struct {
	Version   int               `json:"version"`
	ID        string            `json:"id"` // the same when it is sent again
	Kind      string            `json:"kind"`
	What      string            `json:"what"`
	At        time.Time         `json:"at"`
	Node      string            `json:"node"`
	Title     string            `json:"title"`
	Facts     map[string]string `json:"facts"`
	Statement string            `json:"statement,omitempty"`
	Cut       bool              `json:"cut,omitempty"` // the statement is longer
	Decide    string            `json:"decide,omitempty"`
	Data      any               `json:"data,omitempty"`
}

// A block is one of Slack's Block Kit. What comes from agents and servers stands
// in plain or preformatted text alone, where no markup is read.
type block map[string]any

// body returns what a hook is sent of n.
func (n *Notice) body(id, node, as string) ([]byte, error) {
	p := payload{Agentd: told{
		Version: 1, ID: id, Kind: n.Kind.String(), What: n.What, At: n.At.UTC(), Node: node,
		Title: n.Title, Facts: map[string]string{}, Data: n.Data,
	}}
	t := &p.Agentd
	t.Statement, t.Cut = cut(n.Statement, maxStatement)
	for _, f := range n.Facts {
		t.Facts[f.Name], _ = cut(f.Value, maxValue)
	}
	if n.Decide != nil {
		t.Decide = n.Decide(as)
	}
	p.Text = escape(n.Title)
	p.Blocks = n.blocks(t)
	body, err := json.Marshal(p)
	if err == nil && len(body) > maxPayload {
		t.Data, t.Cut = nil, true
		body, err = json.Marshal(p)
	}
	return body, err
}

func (n *Notice) blocks(t *told) []block {
	title, _ := cut(n.Title, 1000)
	list := []block{{"type": "section", "text": plain(title)}}
	var fields []block
	for i, f := range n.Facts {
		if i == maxFacts {
			break
		}
		fields = append(fields, plain(f.Name+": "+t.Facts[f.Name]))
	}
	if fields != nil {
		list = append(list, block{"type": "section", "fields": fields})
	}
	if t.Statement != "" {
		text := t.Statement
		if t.Cut {
			text += " ..."
		}
		list = append(list, block{"type": "rich_text", "elements": []block{{
			"type": "rich_text_preformatted", "elements": []block{{"type": "text", "text": text}},
		}}})
	}
	if t.Decide != "" {
		list = append(list, block{"type": "rich_text", "elements": []block{{
			"type": "rich_text_section", "elements": []block{{"type": "link", "url": t.Decide, "text": "Look at it and decide"}},
		}}})
	}
	return append(list, block{"type": "context", "elements": []block{plain("agentd on " + t.Node + ", " + t.At.Format("2006-01-02 15:04:05") + " UTC")}})
}

func plain(text string) block {
	if text == "" {
		text = "-" // Slack takes no empty text
	}
	return block{"type": "plain_text", "text": text}
}

// escape makes text what Slack's markup shows as it is: no mention, no link.
func escape(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
}

// cut returns the first n bytes of valid text, less if that is in the midst of a
// rune, and whether that is not all.
func cut(text string, n int) (string, bool) {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= n {
		return text, false
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n], true
}
