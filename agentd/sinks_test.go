package agentd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWrongSinksAreNamed(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"{name: a}", "say where it goes"},
		{"{name: a, syslog: {address: 'h:1'}, otlp: {url: 'https://h'}}", "say where it goes"},
		{"{name: a, syslog: {address: h}}", "write it as logs.example:6514"},
		{"{name: a, syslog: {address: 'h:1', id: agentd}}", "NAME@NUMBER"},
		{"{name: a, syslog: {address: 'h:1', facility: audits}}", "audit"},
		{"{name: a, syslog: {address: 'h:1', ca: missing.pem}}", "`ca`"},
		{"{name: a, syslog: {address: 'h:1', cert: c}}", "go together"},
		{"{name: a, otlp: {url: 'http://otel.example'}}", "shows statements to whoever is on the way"},
		{"{name: a, otlp: {url: 'https://me:hunter2@otel.example'}}", "a password does not belong in this file"},
		{"{name: a, otlp: {url: 'https://h', header: {name: Authorization, value: hunter2}}}", "does not belong in this file"},
		{"{name: a, otlp: {url: 'https://h', header: {name: Authorization, value: {}}}}", "give one of `file`, `env` and `exec`"},
		{"{name: a, webhook: {}}", "give one of `url` and `urlFile`"},
		{"{name: a, webhook: {url: 'https://h', urlFile: f}}", "both `url` and `urlFile`"},
		{"{name: a, objects: {endpoint: 'https://h/bucket', bucket: bucket, accessKey: {env: A}, secretKey: {env: B}}}", "an endpoint has no path"},
		{"{name: a, objects: {endpoint: 'https://h', accessKey: {env: A}, secretKey: {env: B}}}", `"bucket" is missing`},
		{"{name: a, types: [open], objects: {endpoint: 'https://h', bucket: bucket, accessKey: {env: A}, secretKey: {env: B}}}", "brings whole files"},
		{"{name: a, types: [statement], webhook: {url: 'https://h'}}", "not \"statement\""},
		{"{name: a, verdicts: [], webhook: {url: 'https://h'}}", "it gets nothing"},
		{"{name: a, webhook: {url: 'https://h'}}, {name: a, webhook: {url: 'https://g'}}", "again: names must differ"},
	} {
		path := filepath.Join(t.TempDir(), "agentd.yaml")
		if err := os.WriteFile(path, []byte("node: n1\nsinks: ["+tt.text+"]\n"), 0o600); err != nil {
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
