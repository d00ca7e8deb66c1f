package credentials

import "time"

// SetClock makes s go by now.
func SetClock(s *Store, now func() time.Time) { s.now = now }
