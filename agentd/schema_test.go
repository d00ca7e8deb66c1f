package agentd

import (
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"testing"

	"agentd.dev/agentd/credentials"
	"agentd.dev/agentd/selection"
	"agentd.dev/decoders/all"
	"agentd.dev/policy"
	"agentd.dev/policy/document"
)

// A schema is the part of JSON Schema that the test looks at.
type schema struct {
	Properties map[string]*schema `json:"properties"`
	Required   []string           `json:"required"`
	Items      *schema            `json:"items"`
	AnyOf      []*schema          `json:"anyOf"`
	Enum       []any              `json:"enum"`
	Default    any                `json:"default"`
}

func readSchema(t *testing.T, path string) *schema {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := new(schema)
	if err := json.Unmarshal(text, s); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return s
}

func TestTheSchemaListsTheKeysOfTheConfiguration(t *testing.T) {
	root := readSchema(t, "../docs/schema/agentd.json")
	var c Config
	var w WorkloadConfig
	var target TargetConfig
	for _, tt := range []struct {
		name   string
		keys   []document.Key
		schema *schema
	}{
		{"the file", c.keys(""), root},
		{"capture", c.Capture.keys(""), root.Properties["capture"]},
		{"select", selectKeys(new(selection.Rule)), root.Properties["capture"].Properties["select"].Items},
		{"workloads", w.keys(), root.Properties["capture"].Properties["workloads"].Items},
		{"targets", target.keys(""), root.Properties["targets"].Items},
		{"credentials", credentialKeys(new(credentials.Credential), ""), root.Properties["credentials"].Items},
		{"password", passwordKeys(new(credentials.Credential), ""), root.Properties["credentials"].Items.Properties["password"]},
		{"exec", helperKeys(new(credentials.Helper), ""), root.Properties["credentials"].Items.Properties["password"].Properties["exec"]},
		{"tls", target.TLS.keys(""), root.Properties["targets"].Items.Properties["tls"]},
		{"ca", c.CA.keys(""), root.Properties["ca"]},
		{"segment", c.Record.segmentKeys(), root.Properties["record"].Properties["segment"].AnyOf[1]},
		{"retention", new(RetentionRule).keys(), root.Properties["record"].Properties["retention"].Items},
		{"record", c.Record.keys(""), root.Properties["record"]},
		{"record.checkpoints", c.Record.Checkpoints.keys(""), root.Properties["record"].Properties["checkpoints"]},
		{"record.checkpoints.witnesses", new(WitnessConfig).keys(""), root.Properties["record"].Properties["checkpoints"].Properties["witnesses"].Items},
		{"limits", c.Limits.keys(), root.Properties["limits"]},
		{"approvals", c.Approvals.keys(), root.Properties["approvals"]},
		{"drift", c.Drift.keys(), root.Properties["drift"]},
		{"webhooks", new(WebhookConfig).keys(""), root.Properties["webhooks"].Items},
		{"callback", c.Callback.keys(""), root.Properties["callback"]},
		{"approvers", new(ApproverConfig).keys(""), root.Properties["callback"].Properties["approvers"].Items},
	} {
		var got, required, want []string
		for name := range tt.schema.Properties {
			got = append(got, name)
		}
		for _, key := range tt.keys {
			want = append(want, key.Name)
			if key.Required {
				required = append(required, key.Name)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q in the schema, want %q", tt.name, got, want)
		}
		if !slices.Equal(tt.schema.Required, required) {
			t.Errorf("%s: got %q required by the schema, want %q", tt.name, tt.schema.Required, required)
		}
	}
	var protocols []any
	for _, p := range all.Protocols {
		protocols = append(protocols, p.Name)
	}
	if got := root.Properties["targets"].Items.Properties["protocol"].Enum; !slices.Equal(got, protocols) {
		t.Errorf("got protocols %q in the schema, want %q", got, protocols)
	}
}

// A configuration of the schema's defaults is the one of no configuration.
func TestTheSchemaHasTheDefaults(t *testing.T) {
	given := map[string]any{}
	collect(readSchema(t, "../docs/schema/agentd.json"), given)
	text, err := json.Marshal(given) // JSON is YAML
	if err != nil {
		t.Fatal(err)
	}
	path := t.TempDir() + "/agentd.yaml"
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	want := defaults()
	want.Node, want.File = got.Node, path
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func collect(s *schema, into map[string]any) {
	for name, p := range s.Properties {
		switch {
		case p.Default != nil:
			into[name] = p.Default
		case p.Properties != nil:
			inner := map[string]any{}
			collect(p, inner)
			into[name] = inner
		}
	}
}

func TestTheExampleSaysWhatItSays(t *testing.T) {
	got, err := LoadConfig("../deploy/examples/agentd.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Targets) != 1 || len(got.Capture.Workloads) != 1 || !slices.Equal(got.Policies, []string{"../deploy/policies"}) {
		t.Errorf("got %+v, want a target, a workload and the policies beside it", got)
	}
	want := defaults()
	want.File, want.Node, want.Targets, want.Policies, want.Capture.Workloads = got.File, got.Node, got.Targets, got.Policies, got.Capture.Workloads
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the rest is not the defaults: got  %+v\nwant %+v", got, want)
	}
}

func TestTheExampleOfLoginsLoads(t *testing.T) {
	config, err := LoadConfig("../deploy/examples/logins/agentd.yaml")
	if err != nil {
		t.Fatal(err)
	}
	config.Policies = []string{"../deploy/examples/logins/policy.yaml"} // as from its own folder
	read, err := readPolicy(config)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(read.policy.Rules()), 3; got != want || len(config.Credentials) != 3 {
		t.Errorf("got %d rules and %d credentials, want %d of each", got, len(config.Credentials), want)
	}
	for workload, want := range map[string]string{"nightly-load": "orders-rw", "coder": ""} {
		s := &policy.Session{Identity: policy.Identity{Workload: workload}, Target: policy.Target{Name: "orders-db", Protocol: "postgres"}}
		if got, _, err := read.policy.For(s).Credential(); got != want || err != nil {
			t.Errorf("%s assumes %q (%v), want %q", workload, got, err, want)
		}
	}
}
