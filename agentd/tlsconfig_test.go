package agentd_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"agentd.dev/agentd"
	"agentd.dev/agentd/internal/lab"
)

func TestTLSOfATargetIsRead(t *testing.T) {
	ca := lab.NewAuthority(t)
	pair := ca.Issue(t, lab.Issue{Name: "agent"})
	got, _, err := config(t, fmt.Sprintf(`
targets:
  - {name: a, address: "10.0.0.5:5432", protocol: postgres}
  - {name: b, address: "10.0.0.6:5432", protocol: postgres, tls: {client: require, server: verify-full, name: Orders.Internal., ca: %s, cert: %s, key: %s}}
  - {name: c, host: "*.orders.internal:5432", protocol: postgres, tls: {client: offer, server: verify-full}}
ca: {cert: %s, key: %s}
`, ca.File, pair.Cert, pair.Key, ca.File, ca.KeyFile))
	if err != nil {
		t.Fatal(err)
	}
	if got.Targets[0].TLS != (agentd.TLSConfig{}) {
		t.Errorf("got %+v, want the default", got.Targets[0].TLS)
	}
	b := got.Targets[1].TLS
	if b.Client != agentd.ClientRequire || b.Server != agentd.ServerVerifyFull || b.Name != "orders.internal" || b.Roots == nil || b.Pair == nil {
		t.Errorf("got %+v, want all that is given", b)
	}
	if c := got.Targets[2].TLS; c.Client != agentd.ClientOffer || c.Server != agentd.ServerVerifyFull || c.Roots != nil {
		t.Errorf("got %+v, want verify-full by the CAs of the system", c)
	}
}

func TestWhatIsWrongWithTLSIsReportedWithItsPlace(t *testing.T) {
	ca := lab.NewAuthority(t)
	pair, other := ca.Issue(t, lab.Issue{Name: "agent"}), ca.Issue(t, lab.Issue{Name: "other"})
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, path, err := config(t, fmt.Sprintf(`
targets:
  - {name: a, address: "10.0.0.1:5432", protocol: postgres, tls: {client: on, server: verify_full, sni: x}}
  - {name: b, address: "10.0.0.2:5432", protocol: postgres, tls: {server: verify-full}}
  - {name: c, address: "10.0.0.3:5432", protocol: postgres, tls: {server: verify-ca}}
  - {name: d, address: "10.0.0.4:5432", protocol: postgres, tls: {server: require, ca: %[1]s}}
  - {name: e, address: "10.0.0.5:5432", protocol: postgres, tls: {cert: %[2]s}}
  - {name: f, address: "10.0.0.6:5432", protocol: postgres, tls: {cert: %[2]s, key: %[3]s}}
  - {name: g, address: "10.0.0.7:5432", protocol: postgres, tls: {server: verify-ca, ca: /none.crt}}
  - {name: h, address: "10.0.0.8:5432", protocol: postgres, tls: {server: verify-ca, ca: %[4]s}}
  - {name: i, address: "10.0.0.9:5432", protocol: postgres, tls: {server: verify-full, name: "*.internal"}}
  - {name: j, address: "10.0.1.0:5432", protocol: postgres, tls: {server: verify-ca, ca: %[1]s, name: x}}
  - {name: k, address: "10.0.1.1:5432", protocol: postgres, tls: {server: disable, cert: %[2]s, key: %[5]s}}
ca: {cert: %[1]s}
`, ca.File, pair.Cert, other.Key, empty, pair.Key))
	compare(t, err, path, []string{
		`3:75: "on" is not one of "off", "offer" or "require"; did you mean "off"?`,
		`3:87: "verify_full" is not one of "prefer", "disable", "require", "verify-ca" or "verify-full"; did you mean "verify-full"?`,
		`3:100: unknown key "sni": use "client", "server", "ca", "name", "cert" or "key"`,
		"4:5: target \"b\": verify-full needs to know whom the server's certificate must be for: give `name` under `tls`, or `host` in place of `address`",
		"5:66: verify-ca without `ca` would trust whoever has a certificate of any public CA: give `ca`, or write verify-full",
		"6:66: `ca` is not looked at with `server: require`: write verify-full, or verify-ca",
		"7:66: `cert` and `key` belong together: give both, or none",
		fmt.Sprintf("8:66: `cert` and `key`: %s and %s: the key is not that of the certificate", pair.Cert, other.Key),
		"9:66: `ca`: stat /none.crt: no such file or directory",
		fmt.Sprintf("10:66: `ca`: %s holds no certificate in PEM", empty),
		"11:5: target \"i\": verify-full needs to know whom the server's certificate must be for: give `name` under `tls`, or `host` in place of `address`",
		`11:94: "*.internal" is not the name of a host: write what the server's certificate is for`,
		"12:66: `name` is not verified with `server: verify-ca`: write verify-full",
		"13:66: `cert` is never shown with `server: disable`",
		"14:5: `cert` and `key` belong together: give both, or none for a CA of this node's own",
	})
}
