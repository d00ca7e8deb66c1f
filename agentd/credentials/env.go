package credentials

import (
	"fmt"
	"os"
)

// An environment keeps the variables that were taken out of agentd's own, so
// that nothing agentd starts inherits them. The kernel goes on showing what the
// process was started with, to root alone (/proc/PID/environ).
type environment map[string]Secret

// take takes a variable, once.
func (e *environment) take(name string) {
	if name == "" {
		return
	}
	value, set := os.LookupEnv(name)
	if !set {
		return
	}
	if *e == nil {
		*e = environment{}
	}
	(*e)[name] = Secret{value}
	_ = os.Unsetenv(name) // of a name that LookupEnv has found
}

// taken returns what a variable held.
func (s *Store) taken(name string) (Secret, error) {
	s.mu.Lock()
	value, ok := s.env[name]
	s.mu.Unlock()
	if !ok {
		return Secret{}, fmt.Errorf("agentd was started without the variable %s", name)
	}
	return value, check("variable "+name, value.text)
}
