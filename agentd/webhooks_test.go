package agentd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWrongWebhooksAndCallbacksAreNamed(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"webhooks: [{name: a, url: 'http://hooks.example/x'}]", "shows statements to whoever is on the way"},
		{"webhooks: [{name: a, url: 'ftp://hooks.example/x'}]", "not a way to tell people"},
		{"webhooks: [{name: a, url: hooks}]", "that is no URL"},
		{"webhooks: [{name: a}]", "give one of `url` and `urlFile`"},
		{"webhooks: [{name: a, url: 'https://h/x', urlFile: b}]", "give one of `url` and `urlFile`"},
		{"webhooks: [{name: a, url: 'https://h/x'}, {name: a, url: 'https://h/y'}]", "again: names must differ"},
		{"webhooks: [{name: a, url: 'https://h/x', on: []}]", "it is told of nothing"},
		{"webhooks: [{name: a, url: 'https://h/x', on: [alarm]}]", "not one of"},
		{"webhooks: [{name: a, url: 'https://h/x', as: alice}]", "no approver is called"},
		{"webhooks: [{name: a, url: 'https://h/x', secret: hunter2hunter2hunter2}]", "does not belong in this file"},
		{"callback: {approvers: [{name: a, token: {file: x}}]}", "give `listen`"},
		{"callback: {listen: ':9470', approvers: [{name: a, token: {file: x}}]}", "tokens go over TLS alone"},
		{"callback: {listen: ':9470', cert: c, key: k}", "list `approvers`"},
		{"callback: {listen: ':9470', cert: c, key: k, approvers: [{name: a, token: {file: x}}]}", "no such file"},
		{"callback: {listen: ':9470', cert: c, key: k, approvers: [{name: a, token: secret}]}", "does not belong in this file"},
		{"callback: {url: 'http://h'}", "write https:// and a host"},
	} {
		path := filepath.Join(t.TempDir(), "agentd.yaml")
		if err := os.WriteFile(path, []byte("node: n1\n"+tt.text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := LoadConfig(path)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.text, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the problem repeats the secret: %v", err)
		}
	}
}
