package protocol

// target is who should own a partition by the members of the group.
func (s *state) target(p int) int8 {
	switch {
	case s.member[0] && s.member[1]:
		return int8(p % writers)
	case s.member[0]:
		return 0
	case s.member[1]:
		return 1
	}
	return -1
}

// rebalance begins a new generation: what nobody owns is given away at once, what a member has to give up waits for it.
func (s *state) rebalance() {
	for w := range s.writers {
		s.writers[w].current = false
	}
	for p := range s.owner {
		if o := s.owner[p]; o < 0 || !s.member[o] {
			s.owner[p] = s.target(p)
		}
	}
}

// admits is the broker's check of who commits: membership in the current generation, and not ownership of the partition.
func (s *state) admits(w int) bool { return s.member[w] && s.writers[w].current }

// held says whether an open transaction has offsets of a partition.
func (s *state) held(p int) bool {
	for i := range s.transactions {
		if s.transactions[i].open && s.transactions[i].has[p] {
			return true
		}
	}
	return false
}

// conclude makes a transaction's offsets and dead letters visible.
func (s *state) conclude(w int) {
	t := &s.transactions[w]
	for p := range partitions {
		if t.has[p] {
			s.committed[p] = t.what[p]
		}
	}
	for r := range rows {
		if t.dead.has(r) {
			s.dead[s.writers[w].block.topic][r]++
		}
	}
	*t = transaction{}
}

// broker's steps: the coordinator loses patience with members and transactions, and a topic is made anew.
func (m *Model) broker(s *state, emit emitter) {
	for w := range s.writers {
		working := s.writers[w].up && s.writers[w].joined
		if s.member[w] && (!working || s.left.expiries > 0) {
			n := *s
			n.member[w] = false
			if working {
				n.left.expiries--
			}
			n.rebalance()
			emit(step{"the coordinator expels", w, -1, working}, &n)
		}
		if s.transactions[w].open && !s.writers[w].up {
			n := *s
			n.transactions[w] = transaction{}
			emit(step{"the broker aborts the transaction of", w, -1, false}, &n)
		}
	}
	if s.left.recreations > 0 {
		for _, kept := range []bool{true, false} {
			n := *s
			n.left.recreations--
			n.topic++
			if !kept {
				n.committed = [partitions]commit{}
			}
			emit(step{"the topic is made anew", -1, -1, true}, &n)
		}
	}
	if s.left.flips > 0 {
		for r := range rows {
			n := *s
			n.left.flips--
			n.bad ^= 1 << r
			emit(step{"other rows can be decoded from now on, as has changed row", -1, r, true}, &n)
		}
	}
}
