package credentials

import (
	"fmt"
	"log/slog"
)

// A Secret is text that must not be seen. However it is printed, it shows as
// "[secret]"; only Reveal tells it, for whoever logs in.
type Secret struct{ text string }

const hidden = "[secret]"

// Reveal returns the text. Nothing but a login may ask for it.
func (s Secret) Reveal() string { return s.text }

// String implements fmt.Stringer.
func (s Secret) String() string { return hidden }

// GoString implements fmt.GoStringer.
func (s Secret) GoString() string { return hidden }

// Format implements fmt.Formatter, for verbs such as %x that go past String.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hidden)) }

// MarshalText implements encoding.TextMarshaler, and with it JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(hidden) }
