package agentd

import (
	"strconv"
	"strings"
	"time"

	"agentd.dev/policy/document"
	"agentd.dev/recorder"
)

// A RetentionRule says when contents of the record are deleted. Their hashes stay.
type RetentionRule struct {
	Name  string
	After Duration // since the last record of a segment; 0: at no age
	Keep  Size     // that all of the log's contents may take; 0: any
}

// Which segments are sealed, and what becomes of them, is the recorder's matter:
// these read what it is told.

const (
	leastSegment Size = 64 << 10
	mostSegment  Size = 1 << 40
	longest           = 100 * 365 * 24 * time.Hour
)

// readSegment reads when a file of the log ends: its size alone, or a mapping.
func (c *RecordConfig) readSegment(v document.Value) {
	if !v.IsMap() {
		size(&c.Segment, leastSegment, mostSegment)(v)
		return
	}
	v.Map(c.segmentKeys())
}

func (c *RecordConfig) segmentKeys() []document.Key {
	return []document.Key{
		{Name: "size", Read: size(&c.Segment, leastSegment, mostSegment)},
		{Name: "age", Read: days(&c.Age, 0, longest)},
	}
}

// days reads a duration, which may be in days.
func days(to *Duration, least, most time.Duration) func(document.Value) {
	return func(v document.Value) {
		word, ok := v.Word()
		if !ok {
			return
		}
		number, isDays := strings.CutSuffix(word, "d")
		n, err := strconv.ParseUint(number, 10, 16)
		if !isDays || err != nil {
			duration(to, least, most)(v)
			return
		}
		d := time.Duration(n) * 24 * time.Hour
		if d < least || d > most {
			v.Problem("%s is out of range: from %s to %s", word, least, most)
			return
		}
		*to = Duration(d)
	}
}

// readEncrypt reads whom the record is encrypted to.
func (c *RecordConfig) readEncrypt(v document.Value) {
	c.Encrypt = nil
	v.List(func(v document.Value) {
		text, ok := v.Text()
		if !ok {
			return
		}
		if _, err := recorder.ParseRecipient(text); err != nil {
			v.Problem("%v", err)
			return
		}
		c.Encrypt = append(c.Encrypt, text)
	})
}

func (c *RecordConfig) readRetention(v document.Value) {
	c.Retention = nil
	v.List(func(v document.Value) {
		var r RetentionRule
		v.Map(r.keys())
		if r.After == 0 && r.Keep == 0 {
			v.Problem("the rule says neither when nor how much: give `after` or `keep`")
		}
		c.Retention = append(c.Retention, r)
	})
}

func (r *RetentionRule) keys() []document.Key {
	return []document.Key{
		{Name: "name", Required: true, Read: func(v document.Value) {
			if text, ok := v.Text(); ok && text == "" {
				v.Problem("a rule without a name: the log says which rule deleted what")
			} else {
				r.Name = text
			}
		}},
		{Name: "after", Read: days(&r.After, time.Hour, longest)},
		{Name: "keep", Read: size(&r.Keep, 1<<20, 1<<50)},
	}
}

// sealing adds to options what becomes of segments that have ended.
func (c *RecordConfig) sealing(o *recorder.Options) error {
	o.Seal, o.SegmentAge = true, time.Duration(c.Age)
	for _, text := range c.Encrypt {
		r, err := recorder.ParseRecipient(text)
		if err != nil {
			return err
		}
		o.Encrypt = append(o.Encrypt, r)
	}
	for _, r := range c.Retention {
		o.Retention = append(o.Retention, recorder.Rule{Name: r.Name, After: time.Duration(r.After), Keep: int64(r.Keep)})
	}
	return nil
}
