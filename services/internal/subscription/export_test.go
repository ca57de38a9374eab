package subscription

import "time"

// SetClock replaces the clock of a test's Values.
func SetClock(v *Values, now func() time.Time) { v.now = now }
