package protocol

import (
	"math/bits"
	"slices"
)

// write puts rows into a table unless it remembers their token. It returns the two outcomes that an old token leaves open.
func (m *Model) write(t table, b plan) []table {
	name := m.token(b)
	outcomes := []table{}
	for _, k := range t.window {
		if k.used && k.plan == name {
			outcomes = append(outcomes, t) // remembered, so dropped
			if !k.old {
				return outcomes
			}
		}
	}
	for r := range rows {
		if b.rows.has(r) {
			t.count[b.topic][r]++
		}
	}
	t.remember(name)
	return append(outcomes, t)
}

// remember a token, in the place of its old self, of a free one, or of one that may be forgotten.
func (t *table) remember(name plan) {
	free := -1
	for i, k := range t.window {
		if k.used && k.plan == name {
			free = i
			break
		}
		if !k.used || k.old && free < 0 {
			free = i
			if !k.used {
				break
			}
		}
	}
	if free < 0 {
		panic("protocol: the model's window is too small")
	}
	t.window[free] = token{used: true, plan: name}
}

// token is what a table knows a block by.
func (m *Model) token(b plan) plan {
	if m.Mutation == TokenWithoutRange {
		return plan{topic: b.topic, number: uint8(bits.OnesCount8(uint8(b.rows)))}
	}
	return b
}

// clickhouse's steps: the source's part and the view's part of an insert are two, and anything may happen between them.
func (m *Model) clickhouse(s *state, emit emitter) {
	for i := range s.inserts {
		in := s.inserts[i]
		if !in.used {
			continue
		}
		switch {
		case !in.started && in.old && m.Mutation != NoDeadline:
			n := *s
			n.answer(i, false)
			emit(step{"ClickHouse refuses an insert past its deadline, of", int(in.sender), i, false}, &n)
		case !in.started:
			for _, t := range m.write(s.source, in.plan) {
				n := *s
				n.source = t
				n.inserts[i].started = true
				if m.WithoutViews {
					n.view = t
					n.answer(i, true)
				}
				emit(step{"ClickHouse writes the source part of the insert of", int(in.sender), i, false}, &n)
			}
		default:
			for _, t := range m.write(s.view, in.plan) {
				n := *s
				n.view = t
				n.answer(i, true)
				emit(step{"ClickHouse writes the view part of the insert of", int(in.sender), i, false}, &n)
			}
		}
		if in.sender >= 0 && s.left.lost > 0 {
			n := *s
			n.left.lost--
			n.writers[in.sender].stage, n.writers[in.sender].unknown = ready, true
			n.inserts[i].sender = -1
			emit(step{"the connection is cut while an insert is under way, of", int(in.sender), i, true}, &n)
		}
	}
	if s.left.serverCrashes > 0 {
		n := *s
		n.left.serverCrashes--
		for i := range n.inserts {
			n.answer(i, false)
		}
		emit(step{"ClickHouse is killed and started again", -1, -1, true}, &n)
		m.burn(s, emit)
	}
}

// burn is a kill between the writing down of a token and the part's taking its place: the table remembers the token, and has not
// the rows.
func (m *Model) burn(s *state, emit emitter) {
	for i, in := range s.inserts {
		if !in.used || in.old || m.WithoutViews && in.started {
			continue
		}
		n := *s
		t, what := &n.source, "ClickHouse is killed with a burnt token for the table and started again, by the insert of"
		if in.started {
			t, what = &n.view, "ClickHouse is killed with a burnt token for the view and started again, by the insert of"
		}
		name := m.token(in.plan)
		if slices.ContainsFunc(t.window[:], func(k token) bool { return k.used && k.plan == name }) {
			continue
		}
		t.remember(name)
		n.left.serverCrashes--
		for k := range n.inserts {
			n.answer(k, false)
		}
		emit(step{what, int(in.sender), i, true}, &n)
	}
}

// answer ends an insert and tells its sender, if that one still waits.
func (s *state) answer(i int, inserted bool) {
	in := s.inserts[i]
	s.inserts[i] = insert{}
	if !in.used || in.sender < 0 {
		return
	}
	switch a := &s.writers[in.sender]; {
	case inserted && a.unknown:
		a.stage = looking
	case inserted:
		s.inserted(int(in.sender))
	default:
		a.stage, a.unknown = ready, true
	}
}

// tick lets the horizon of everything pass. Statements are bounded in time: what is under way then is ended by the server.
// It says whether there was any horizon to pass.
func (m *Model) tick(s *state, emit emitter) bool {
	n := *s
	for p := range n.committed {
		age(&n.committed[p])
	}
	for w := range n.writers {
		for p := range partitions {
			age(&n.transactions[w].what[p])
			n.writers[w].queue[p].old = n.writers[w].queue[p].used
		}
		if n.writers[w].stage >= sent {
			n.writers[w].old = true
		}
	}
	for i := range n.inserts {
		if n.inserts[i].used && n.inserts[i].started && m.Mutation != UnboundedExecution {
			n.answer(i, false)
		}
		n.inserts[i].old = n.inserts[i].used
	}
	for _, t := range []*table{&n.source, &n.view} {
		for i := range t.window {
			t.window[i].old = t.window[i].used
		}
	}
	if n == *s {
		return false
	}
	emit(step{"the horizon passes", -1, -1, true}, &n)
	return true
}

func age(c *commit) {
	if c.kind == planned || c.kind == leased {
		c.old = true
	}
}
