package main

import "errors"

// errNotHeard keeps a writer that cannot read the words from planning: whoever says a word may rely on it after groupcontrol.Lease.
var errNotHeard = errors.New("topic group-controls cannot be read: whether the group is paused is not known, nothing is begun until it is")

// obey does what an operator has said of the product's group. A paused product keeps its partitions and ends what is planned, its
// own blocks and those of predecessors: that they are repeated within their horizon does not wait for anybody. What is decoded and
// not planned yet is given up, to be read again, so that a pause of days holds no memory.
func (p *product) obey() {
	word := p.controls.Last(p.group)
	switch held := word.Paused(); {
	case held && !p.held:
		p.log.Warn("the group is paused", "word", word.String())
		if p.open.touched > 0 {
			p.discard()
		}
	case !held && p.held:
		p.log.Info("the group goes on", "word", word.String())
	}
	if p.held = word.Paused(); p.held {
		p.spare, p.open.block = nil, nil
	}
	p.quiet.Store(p.held && p.idle() && len(p.completed) == 0)
	paused := 0.0
	if p.held {
		paused = 1
	}
	p.metrics.paused.WithLabelValues(p.topic).Set(paused)
}

// heldUp says why the product begins nothing although nobody is known to want that.
func (p *product) heldUp() error {
	switch word := p.controls.Last(p.group); {
	case !p.controls.Fresh():
		return errNotHeard
	case word.Alarm():
		return errors.New(word.String())
	}
	return nil
}

// note is what /readyz says of a product that is ready and does nothing because a person wants it so.
func (p *product) note() string {
	word := p.controls.Last(p.group)
	switch {
	case !word.Paused(), word.Alarm():
		return ""
	case !p.quiet.Load():
		return word.String() + " (what was planned before is still on its way into the table)"
	}
	return word.String()
}
