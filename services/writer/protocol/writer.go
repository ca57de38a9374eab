package protocol

// reset forgets everything that a session knew; what it has sent stays under way.
func (s *state) reset(w int) {
	for i := range s.inserts {
		if s.inserts[i].used && int(s.inserts[i].sender) == w {
			s.inserts[i].sender = -1
		}
	}
	s.writers[w] = writer{up: s.writers[w].up, topic: s.topic}
}

// rest ends what the writer was doing with a block.
func (a *writer) rest() {
	a.stage, a.block, a.mine, a.dead, a.old, a.repair, a.unknown = idle, plan{}, share{}, 0, false, false, false
}

// inserted takes the acknowledgement of an insert.
func (s *state) inserted(w int) {
	a := &s.writers[w]
	for p := range partitions {
		if a.mine[p] {
			a.done[p] = true
		}
	}
	a.settle(a.block)
	a.rest()
}

// settle takes a plan from those that are to be recovered.
func (a *writer) settle(b plan) {
	for i := range a.queue {
		if a.queue[i].used && a.queue[i].plan == b {
			a.queue[i] = recovery{}
		}
	}
	a.sort()
}

// sort brings the queue into one form, and drops what concerns no partition of ours.
func (a *writer) sort() {
	var kept [partitions]recovery
	n := 0
	for _, q := range a.queue {
		if q.used && !q.mine.none() {
			kept[n] = q
			n++
		}
	}
	a.queue = kept
}

// part of a plan that is in some of its partitions.
func (b plan) part(of share) plan {
	for p := range partitions {
		if !of[p] {
			b.from[p], b.to[p] = 0, 0
		}
	}
	b.rows &= b.all()
	return b
}

func (m *Model) writer(s *state, w int, emit emitter) {
	a := &s.writers[w]
	if !a.up {
		n := *s
		n.transactions[w] = transaction{} // its successor's first call fences it
		n.writers[w] = writer{up: true, topic: s.topic}
		emit(step{"a new process begins as", w, -1, false}, &n)
		return
	}
	if s.left.crashes > 0 {
		n := *s
		n.left.crashes--
		n.reset(w)
		n.writers[w].up = false
		emit(step{"kill -9 of", w, -1, true}, &n)
	}
	if a.stage != sent {
		m.group(s, w, emit)
	}
	if a.topic != s.topic && (a.stage == idle || a.stage == decoded) {
		n := *s
		n.reset(w)
		n.member[w] = false
		n.rebalance()
		emit(step{"the topic's id is another: a new session begins of", w, -1, false}, &n)
		if a.stage == idle {
			m.decode(s, w, emit)
		}
		return
	}
	switch a.stage {
	case idle:
		m.recover(s, w, emit)
		m.decode(s, w, emit)
		m.ends(s, w, emit)
	case decoded:
		m.send(s, w, emit)
	case sent:
		n := *s
		m.end(&n, w)
		emit(step{"the transaction ends of", w, -1, false}, &n)
	case ready:
		m.insert(s, w, emit)
	case looking:
		m.look(s, w, emit)
	case leasing, rebuilt:
		m.repair(s, w, emit)
	}
}

// look whether table and view have what ClickHouse has acknowledged of a repeated insert. By now both know its token, so that no copy of
// it has any effect, and what lacks is repaired without waiting for the horizon.
func (m *Model) look(s *state, w int, emit emitter) {
	a := &s.writers[w]
	n := *s
	if m.Mutation == TrustTheToken || s.shows(a.block) && s.shown(a.block.part(a.mine)) {
		n.inserted(w)
		emit(step{"the rows of a repeated insert are seen by", w, -1, false}, &n)
		return
	}
	b := &n.writers[w]
	b.settle(a.block)
	b.rest()
	b.enqueue(recovery{used: true, old: true, repair: true, plan: a.block, mine: a.mine})
	emit(step{"a burnt token is found by", w, -1, false}, &n)
}

// shown says whether the view has what the table has of a plan.
func (s *state) shown(b plan) bool {
	for r := range rows {
		if b.rows.has(r) && s.view.count[b.topic][r] != s.source.count[b.topic][r] {
			return false
		}
	}
	return true
}

// group is the writer's part of rebalances: it runs inside a poll, under the lock that commits take.
func (m *Model) group(s *state, w int, emit emitter) {
	a := &s.writers[w]
	switch {
	case !a.joined && !s.member[w]:
		n := *s
		n.member[w], n.writers[w].joined = true, true
		n.rebalance()
		emit(step{"the group is joined by", w, -1, false}, &n)
		return
	case !a.joined:
		return // its predecessor is a member still
	case !s.member[w]:
		n := *s
		if m.Mutation == StaleWorker && a.stage == decoded {
			// The polling goroutine rejoins, and the one with the block does not learn of it.
			n.member[w] = true
			n.rebalance()
			n.writers[w].current = true
		} else {
			n.reset(w)
		}
		emit(step{"all partitions are lost to", w, -1, false}, &n)
		return
	case !a.current:
		n := *s
		n.follow(w)
		emit(step{"the rebalance is followed by", w, -1, false}, &n)
		return
	}
	for p := range partitions {
		if s.owner[p] == int8(w) && !a.owns[p] && (!s.held(p) || m.Mutation == ReadUncommitted) {
			n := *s
			m.begin(&n, w, p)
			emit(step{"a partition is taken up by", w, p, false}, &n)
		}
	}
}

// follow gives up what the new generation gives to others.
func (s *state) follow(w int) {
	a := &s.writers[w]
	a.current = true
	var given [partitions]bool
	for p := range partitions {
		if s.owner[p] == int8(w) && s.target(p) != int8(w) {
			given[p] = true
			s.owner[p] = s.target(p)
			if a.owns[p] {
				a.owns[p], a.next[p], a.done[p] = false, 0, false
			}
			a.mine[p] = false
			for i := range a.queue {
				a.queue[i].mine[p] = false
			}
		}
	}
	if given == [partitions]bool{} {
		return
	}
	for p := range partitions {
		if !given[p] || !a.block.spans(p) {
			continue
		}
		switch a.stage {
		case decoded, leasing, rebuilt:
			if !a.repair {
				for q := range partitions {
					if a.owns[q] && a.block.spans(q) {
						a.next[q] = a.block.from[q]
					}
				}
			}
			a.rest()
		}
	}
	a.sort()
	s.rebalance()
}

// begin reads what was committed at a partition, and begins there.
func (m *Model) begin(s *state, w, p int) {
	a, c := &s.writers[w], s.committed[p]
	a.owns[p], a.done[p] = true, false
	if c.kind == nothing || c.topic != a.topic && m.Mutation != OffsetWithoutTopic {
		// After the last row of this topic that the table has.
		a.next[p] = 0
		for o := range int(length(p)) {
			if s.source.count[a.topic][row(p, o)] > 0 {
				a.next[p] = uint8(o + 1)
			}
		}
		return
	}
	a.next[p] = c.offset
	if c.kind == ended {
		return
	}
	a.next[p] = c.plan.to[p]
	if a.stage >= ready && a.block == c.plan && c.kind == planned && a.old == c.old {
		a.mine[p] = true
		return
	}
	for i := range a.queue {
		if a.queue[i].used && a.queue[i].plan == c.plan {
			a.queue[i].repair = a.queue[i].repair || c.kind == leased
			a.queue[i].old = a.queue[i].old && c.old
			a.queue[i].mine[p] = true
			return
		}
	}
	for i := range a.queue {
		if !a.queue[i].used {
			a.queue[i] = recovery{used: true, old: c.old, repair: c.kind == leased, plan: c.plan}
			a.queue[i].mine[p] = true
			return
		}
	}
	panic("protocol: more plans than partitions")
}

// decode makes a block of any of the next records.
func (m *Model) decode(s *state, w int, emit emitter) {
	a := &s.writers[w]
	if a.queue[0].used {
		return
	}
	var most [partitions]uint8
	for p := range partitions {
		if a.owns[p] {
			most[p] = length(p) - a.next[p]
		}
	}
	for i := range most[0] + 1 {
		for j := range most[1] + 1 {
			if i+j == 0 {
				continue
			}
			n := *s
			b := &n.writers[w]
			b.block = plan{topic: a.topic}
			for p, length := range [partitions]uint8{i, j} {
				if length > 0 {
					b.block.from[p], b.block.to[p] = a.next[p], a.next[p]+length
					b.next[p] += length
					b.mine[p] = true
				}
			}
			b.block.rows = b.block.all() &^ s.bad
			b.dead = b.block.all() & s.bad
			b.stage = decoded
			if m.Mutation == PlanAfterInsert && b.block.rows != 0 {
				b.stage = ready
			}
			emit(step{"a block is decoded by", w, -1, false}, &n)
		}
	}
}

// send opens the transaction of a block: it completes the blocks before, and carries the plan and the dead letters.
func (m *Model) send(s *state, w int, emit emitter) {
	a := &s.writers[w]
	if !s.admits(w) {
		return
	}
	for p := range partitions {
		// Ownership is checked by the writer itself, since the broker does not.
		if a.block.spans(p) && !a.owns[p] {
			return
		}
	}
	n := *s
	b, t := &n.writers[w], &n.transactions[w]
	*t = transaction{open: true, dead: a.dead}
	for p := range partitions {
		switch {
		case a.block.spans(p) && (a.block.rows == 0 || m.Mutation == CommitBeforeInsert || m.Mutation == PlanAfterInsert):
			t.has[p], t.what[p] = true, commit{kind: ended, offset: a.block.to[p], topic: a.topic}
		case a.block.spans(p):
			if m.Mutation == PlanOnOnePartition && t.has != [partitions]bool{} {
				t.has[p], t.what[p] = true, commit{kind: ended, offset: a.block.from[p], topic: a.topic}
				continue
			}
			t.has[p], t.what[p] = true, commit{kind: planned, offset: a.block.from[p], topic: a.topic, plan: a.block}
		case a.owns[p] && a.done[p]:
			t.has[p], t.what[p] = true, commit{kind: ended, offset: a.next[p], topic: a.topic}
		}
	}
	b.stage, b.old = sent, false
	emit(step{"the transaction is sent by", w, -1, false}, &n)
}

// end of a block's transaction.
func (m *Model) end(s *state, w int) {
	a := &s.writers[w]
	for p := range partitions {
		if s.transactions[w].has[p] {
			a.done[p] = false
		}
	}
	s.conclude(w)
	if a.repair {
		// What the old plan lacked has a plan of its own now, or lacks nothing.
		for i := range a.queue {
			if q := a.queue[i]; q.used && q.plan.number+1 == a.block.number && q.plan.part(a.mine).from == a.block.from && q.plan.part(a.mine).to == a.block.to {
				for p := range partitions {
					a.queue[i].mine[p] = q.mine[p] && !a.mine[p]
				}
			}
		}
		a.sort()
	}
	if a.block.rows == 0 || m.Mutation == PlanAfterInsert {
		a.rest()
		return
	}
	a.stage, a.repair, a.dead, a.unknown = ready, false, 0, false
}

// insert sends the block, unless its horizon is past.
func (m *Model) insert(s *state, w int, emit emitter) {
	a := &s.writers[w]
	n := *s
	b := &n.writers[w]
	if a.old && m.Mutation != NoDeadline {
		b.rest()
		b.enqueue(recovery{used: true, old: true, plan: a.block, mine: a.mine})
		emit(step{"an old plan is put aside for repair by", w, -1, false}, &n)
		return
	}
	for i := range n.inserts {
		if !n.inserts[i].used {
			n.inserts[i] = insert{used: true, old: a.old, sender: int8(w), plan: a.block}
			b.stage = inserting
			emit(step{"the insert is sent by", w, i, false}, &n)
			return
		}
	}
}

// enqueue a plan that is ours in part.
func (a *writer) enqueue(r recovery) {
	for i := range a.queue {
		if a.queue[i].used && a.queue[i].plan == r.plan {
			for p := range partitions {
				a.queue[i].mine[p] = a.queue[i].mine[p] || r.mine[p]
			}
			return
		}
	}
	for i := range a.queue {
		if !a.queue[i].used {
			a.queue[i] = r
			a.sort()
			return
		}
	}
	panic("protocol: more plans than partitions")
}

// recover takes up a predecessor's plan: inside of the horizon the same rows go in under the same token, whatever the table
// shows; outside, or where the rows cannot be made again, the plan is repaired once nobody can insert it any more.
func (m *Model) recover(s *state, w int, emit emitter) {
	a := &s.writers[w]
	for _, q := range a.queue {
		if !q.used {
			return
		}
		again := q.plan.rows&s.bad == 0 && !q.repair
		if m.Mutation == TrustTheTable && again && s.shows(q.plan) {
			n := *s
			n.writers[w].block, n.writers[w].mine = q.plan, q.mine
			n.inserted(w)
			emit(step{"the table has the plan's rows, which satisfies", w, -1, false}, &n)
			return
		}
		if again && !q.old {
			n := *s
			n.writers[w].block, n.writers[w].mine, n.writers[w].stage, n.writers[w].unknown = q.plan, q.mine, ready, true
			emit(step{"a predecessor's plan is read again by", w, -1, false}, &n)
		} else if (q.old || m.Mutation == RepairAtOnce) && s.admits(w) {
			n := *s
			b := &n.writers[w]
			b.block, b.mine, b.repair, b.stage, b.old = q.plan.part(q.mine), q.mine, true, leasing, false
			if m.Mutation != RepairWithoutLease && !m.WithoutViews {
				for p := range partitions {
					if b.block.spans(p) {
						n.committed[p] = commit{kind: leased, offset: b.block.from[p], topic: a.topic, plan: q.plan}
					}
				}
			}
			emit(step{"a lease on an old plan is taken by", w, -1, false}, &n)
		}
	}
}

func (s *state) shows(b plan) bool {
	for r := range rows {
		if b.rows.has(r) && s.source.count[b.topic][r] == 0 {
			return false
		}
	}
	return true
}

// repair rebuilds the views of an old plan's rows, asks the table which of them it lacks, and makes a block of those. Its
// statements carry the lease's deadline.
func (m *Model) repair(s *state, w int, emit emitter) {
	a := &s.writers[w]
	n := *s
	b := &n.writers[w]
	if a.old && m.Mutation != RepairWithoutLease && !m.WithoutViews {
		b.rest()
		emit(step{"a lease has run out for", w, -1, false}, &n)
		return
	}
	if a.stage == leasing && !m.WithoutViews {
		for r := range rows {
			if a.block.rows.has(r) {
				n.view.count[a.block.topic][r] = s.source.count[a.block.topic][r]
			}
		}
		b.stage = rebuilt
		emit(step{"the views are rebuilt by", w, -1, false}, &n)
		return
	}
	for r := range rows {
		if a.block.rows.has(r) && s.source.count[a.block.topic][r] > 0 {
			b.block.rows &^= 1 << r
		}
	}
	b.block.number++
	b.dead = b.block.rows & s.bad
	b.block.rows &^= s.bad
	b.stage, b.old = decoded, false
	emit(step{"what an old plan lacks is known to", w, -1, false}, &n)
}

// ends commits the ends of blocks that are in the table, when nothing follows.
func (m *Model) ends(s *state, w int, emit emitter) {
	a := &s.writers[w]
	if a.done == [partitions]bool{} || !s.admits(w) {
		return
	}
	n := *s
	for p := range partitions {
		if a.owns[p] && a.done[p] {
			n.committed[p] = commit{kind: ended, offset: a.next[p], topic: a.topic}
			n.writers[w].done[p] = false
		}
	}
	emit(step{"the ends are committed by", w, -1, false}, &n)
}
