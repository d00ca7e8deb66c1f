package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"agentd.dev/agentd/control"
)

func newCA(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ca",
		Short: "Show and export the CA that clients are to trust",
		Long: `Where a target has TLS for its clients, agentd is who they see: its certificate
is signed by a CA of this node, or by one that nodes share (` + "`ca`" + ` in the
configuration). A client that verifies needs the CA's certificate.`,
		Example: "  agentctl ca show\n  agentctl ca export --out agentd-ca.crt",
	}
	cmd.AddCommand(newCAShow(a), newCAExport(a))
	return group(cmd)
}

func newCAShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "Show the certificates of the CA",
		Long: `Show lists the certificates of the CA: the one that signs what clients see, and
those that they are to trust as well, as another one takes its place in time.`,
		Example: "  agentctl ca show\n  agentctl ca show -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ca, err := a.ca(cmd)
			if err != nil {
				return err
			}
			return a.show(ca, func() {
				for i, c := range ca.Certificates {
					if i > 0 {
						fmt.Fprintln(a.out)
					}
					a.writeCA(&c)
				}
			})
		},
	}
}

func newCAExport(a *app) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Print the certificates that clients are to trust",
		Long: `Export prints the certificates of the CA as PEM, none of its keys. Give it to
clients: as sslrootcert with sslmode=verify-full for libpq, or added to what their
machine trusts. While one CA certificate takes the place of another, both are there.`,
		Example: `  agentctl ca export --out agentd-ca.crt
  psql "host=orders.internal sslmode=verify-full sslrootcert=agentd-ca.crt"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ca, err := a.ca(cmd)
			if err != nil {
				return err
			}
			if out == "" {
				return a.show(ca, func() { fmt.Fprint(a.out, ca.PEM) })
			}
			if err := os.WriteFile(out, []byte(ca.PEM), 0o644); err != nil {
				return fmt.Errorf("write the certificates: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "file to write to, in place of printing")
	return cmd
}

// ca asks for the CA, of which there is one or something is wrong.
func (a *app) ca(cmd *cobra.Command) (control.CA, error) {
	client := a.client()
	defer client.Close()
	ca, err := client.CA(cmd.Context())
	if err == nil && ca.Problem != "" {
		err = errors.New(ca.Problem)
	}
	return ca, err
}

func (a *app) writeCA(c *control.CACertificate) {
	what := "trusted"
	if c.Signing {
		what = "signs"
	}
	a.fact("ca", bold, "%s, %s", c.Subject, what)
	a.fact("sha256", plain, "%s", pairs(c.SHA256))
	a.fact("valid", plain, "from %s to %s", moment(c.From), moment(c.Until))
	a.fact("file", plain, "%s", c.File)
}

// pairs writes hexadecimal digits as openssl does.
func pairs(digits string) string {
	var parts []string
	for ; len(digits) >= 2; digits = digits[2:] {
		parts = append(parts, strings.ToUpper(digits[:2]))
	}
	return strings.Join(parts, ":")
}
