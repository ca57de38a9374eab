package convert

import "context"

// place is where a group that has read the earlier version's partition up to stopped, not included, goes on in the later
// version's: behind the last record there that it has read, so that the next one is the first that it has not. What it has read there are the records made from one before
// stopped, and those from which one before stopped was made. downDone is up to where the later version has been converted
// down, negative where nothing has.
func place(ctx context.Context, stopped int64, from, to partitionLog, downDone int64) (int64, error) {
	first, _ := from.span()
	at, _ := to.span()
	down, natives, reached, err := lastDown(ctx, from, first, stopped, false)
	if err != nil {
		return 0, err
	}
	if down.converted() {
		at = max(at, down.source+1)
	}
	if !down.converted() || natives {
		up, err := lastUp(ctx, to, at, stopped)
		if err != nil {
			return 0, err
		}
		if up.converted() {
			at = max(at, up.offset+1)
		}
		if !down.converted() {
			// Of what is before the up-converted one, nothing is behind it in the later version.
			if down, _, _, err = lastDown(ctx, from, max(first, up.source+1), reached, true); err != nil {
				return 0, err
			}
			if down.converted() {
				at = max(at, down.source+1)
			}
		}
		if !up.converted() && !down.converted() {
			return untold(ctx, stopped, from, to, downDone)
		}
	}
	return at, nil
}

// lastDown looks for the last record before hi that was converted down, window by window, until one holds anything, or until
// one holds such a record. natives tells whether others follow it; reached is where the looking ended.
func lastDown(ctx context.Context, from partitionLog, lo, hi int64, insist bool) (down entry, natives bool, reached int64, err error) {
	down, reached = entry{source: native}, hi
	err = backwards(lo, hi, func(begin, end int64) (bool, error) {
		reached = begin
		err := from.read(ctx, begin, end, func(e entry) bool {
			if e.converted() {
				down, natives = e, false
			} else {
				natives = true
			}
			return true
		})
		return down.converted() || natives && !insist, err
	})
	return down, natives, reached, err
}

// lastUp is the last record from lo on that was made from one before stopped.
func lastUp(ctx context.Context, to partitionLog, lo, stopped int64) (entry, error) {
	up := entry{source: native}
	_, end := to.span()
	err := backwards(lo, end, func(begin, end int64) (bool, error) {
		err := to.read(ctx, begin, end, func(e entry) bool {
			if e.converted() && e.source < stopped {
				up = e
			}
			return true
		})
		return up.converted(), err
	})
	return up, err
}

// untold is the place where no record before stopped tells one: because there is none, or retention has taken it. The next one
// that is there may tell; without one, what was converted down has been there and was read.
func untold(ctx context.Context, stopped int64, from, to partitionLog, downDone int64) (int64, error) {
	at, end := to.span()
	_, fromEnd := from.span()
	next, found := entry{}, false
	err := from.read(ctx, stopped, fromEnd, func(e entry) bool {
		next, found = e, true
		return false
	})
	switch {
	case err != nil:
		return 0, err
	case found && next.converted():
		return max(at, next.source), nil
	case !found && downDone >= 0:
		return max(at, min(downDone, end)), nil
	}
	return at, nil
}

// firstAt is the first readable record at or after an offset, the offset itself where there is none.
func firstAt(ctx context.Context, to partitionLog, at int64) (int64, error) {
	_, end := to.span()
	err := to.read(ctx, at, end, func(e entry) bool {
		at = e.offset
		return false
	})
	return at, err
}
