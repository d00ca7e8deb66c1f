package credentials

import "github.com/xdg-go/stringprep"

// prepare returns a password as SCRAM wants it (SASLprep, RFC 4013), "" if that
// is the password itself. One that SASLprep does not allow is taken as it is,
// as servers do (scram-common.c).
func prepare(password Secret) Secret {
	prepared, err := stringprep.SASLprep.Prepare(password.text)
	if err != nil || prepared == password.text {
		return Secret{}
	}
	return Secret{prepared}
}
