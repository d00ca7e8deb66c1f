package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
)

// show prints v as -o says: for programs by its JSON names, for people as
// people prints it.
func (a *app) show(v any, people func()) error {
	switch a.format {
	case "json":
		return writeJSON(a.out, v)
	case "yaml":
		return writeYAML(a.out, v)
	}
	people()
	return nil
}

// writeJSON writes v as indented JSON that is safe on a terminal.
func writeJSON(w io.Writer, v any) error {
	text, err := encodeJSON(v)
	if err != nil {
		return err
	}
	_, err = w.Write(escapeJSON(text))
	return err
}

func encodeJSON(v any) ([]byte, error) {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode the answer: %w", err)
	}
	return text.Bytes(), nil
}

// writeYAML writes the same names in the same order as JSON, by way of it,
// since JSON is YAML. It is as safe.
func writeYAML(w io.Writer, v any) error {
	text, err := encodeJSON(v)
	if err != nil {
		return err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(escapeYAML(text), &doc); err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	unquote(&doc)
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := errors.Join(enc.Encode(&doc), enc.Close()); err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	_, err = w.Write(escapeYAML(out.Bytes()))
	return err
}

// unquote lets the YAML encoder choose how to write each node. Texts that a
// terminal may obey stay in quotes, where they are escaped.
func unquote(n *yaml.Node) {
	if n.Kind != yaml.ScalarNode || printable(n.Value) == n.Value {
		n.Style = 0
	}
	for _, child := range n.Content {
		unquote(child)
	}
}

// line prints v as one line of JSON that is safe on a terminal.
func (a *app) line(v any) error {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	_, err := a.out.Write(escapeJSON(text.Bytes()))
	return err
}
