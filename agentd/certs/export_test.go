package certs

import "time"

// SetNow makes a take another time for now.
func SetNow(a *Authority, now time.Time) { a.now = func() time.Time { return now } }
