package fieldrules

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// errShort says that a body ends before its schema does.
var errShort = errors.New("the body ends too early")

// maxNesting bounds how deep a record that holds itself is followed: a body of one byte a level could end the process.
const maxNesting = 512

// walker is one walk over a body. It lives on the stack of Check.
type walker struct {
	body  []byte
	at    int
	found []Violation
	depth int
	// indexes of the items of those arrays with rules that the walk is in, the first of them; level is how many they are.
	indexes [maxIndexes]int64
	level   int
}

// maxIndexes bounds how many arrays in each other a violation tells the positions in.
const maxIndexes = 8

// Check appends to found the violations of a body, one a rule and that by the first value, in the order of the body. The
// error says that the body is not one of the schema, as far as it had to be read; what was found before is returned too.
func (c *Checker) Check(body []byte, found []Violation) ([]Violation, error) {
	if len(c.steps) == 0 {
		return found, nil
	}
	w := walker{body: body, found: found}
	if err := w.walk(c.steps); err != nil {
		return w.found, fmt.Errorf("byte %d of %d: %w", w.at, len(body), err)
	}
	return w.found, nil
}

// walk takes the steps that most records are made of in short forms of its own, and leaves the long forms to others: a number
// below 64 is one byte, and so is the length of nearly every string and decimal.
func (w *walker) walk(steps []step) error {
	body, at := w.body, w.at
	for i := range steps {
		s := &steps[i]
		if s.op == opStrings {
			n := s.n
			for ; n > 0 && at < len(body) && body[at]&0x81 == 0; n-- {
				at += 1 + int(body[at]>>1)
			}
			if n == 0 && at <= len(body) {
				continue
			}
			if w.at = at; at > len(body) {
				return errShort
			}
			if err := w.skipStrings(n); err != nil {
				return err
			}
			at = w.at
			continue
		}
		if at < len(body) && body[at]&0x81 == 0 {
			short := int(body[at] >> 1)
			switch s.op {
			case opDecimal:
				if to := at + 1 + short; to <= len(body) && s.bounds.clearlyKept(body[at+1:to]) {
					at = to
					continue
				}
			case opVarint:
				if v := int64(short); v >= s.bounds.minimum.whole && v <= s.bounds.maximum.whole {
					at++
					continue
				}
			case opUnion:
				if to := s.shortBranch(body, at+1, short); to > 0 {
					at = to
					continue
				}
			}
		}
		w.at = at
		if err := w.step(s); err != nil {
			return err
		}
		at = w.at
	}
	w.at = at
	return nil
}

// shortBranch passes by a union's branch that is null or a number, and returns where it ends; 0 where there is more to it.
func (s *step) shortBranch(body []byte, at, branch int) int {
	if branch >= len(s.branches) || s.nullRule != nil {
		return 0
	}
	switch b := s.branches[branch]; {
	case len(b) == 0:
		return at
	case len(b) == 1 && b[0].op == opVarints && b[0].n == 1:
		for end := min(len(body), at+binary.MaxVarintLen64); at < end; at++ {
			if body[at] < 0x80 {
				return at + 1
			}
		}
	}
	return 0
}

func (w *walker) step(s *step) error {
	switch s.op {
	case opFixed:
		return w.skip(int64(s.n))
	case opVarints:
		return w.skipVarints(s.n)
	case opVarint:
		v, err := w.varint()
		if err == nil {
			w.whole(s, v)
		}
		return err
	case opDecimal:
		n, err := w.varint()
		if err == nil {
			err = w.decimal(s, n)
		}
		return err
	case opFixedDecimal:
		return w.decimal(s, int64(s.n))
	}
	return w.compound(s)
}

// compound is what is rarer, or holds steps of its own.
func (w *walker) compound(s *step) error {
	switch s.op {
	case opFloat:
		if len(w.body)-w.at < 4 {
			return errShort
		}
		w.float(s, float64(math.Float32frombits(binary.LittleEndian.Uint32(w.body[w.at:]))), 32)
		w.at += 4
	case opDouble:
		if len(w.body)-w.at < 8 {
			return errShort
		}
		w.float(s, math.Float64frombits(binary.LittleEndian.Uint64(w.body[w.at:])), 64)
		w.at += 8
	case opUnion:
		branch, err := w.varint()
		if err != nil {
			return err
		}
		if branch < 0 || branch >= int64(len(s.branches)) {
			return fmt.Errorf("branch %d of a union of %d", branch, len(s.branches))
		}
		if s.nullRule != nil && int(branch) == s.null {
			w.tell(s.nullRule, "null")
		}
		return w.walk(s.branches[branch])
	case opCall:
		if w.depth++; w.depth > maxNesting {
			return fmt.Errorf("a record within itself more than %d times", maxNesting)
		}
		err := w.walk(s.call.steps)
		w.depth--
		return err
	default:
		return w.blocks(s)
	}
	return nil
}

// blocks walks an array or a map. A block that tells its bytes is skipped at once where nothing in it has a rule.
func (w *walker) blocks(s *step) error {
	var first int64
	for {
		count, err := w.varint()
		if err != nil {
			return err
		}
		if count == 0 {
			return nil
		}
		if count < 0 {
			size, err := w.varint()
			if err != nil {
				return err
			}
			if count == math.MinInt64 {
				return fmt.Errorf("a block of %d items", count)
			}
			if count = -count; !s.ruled {
				if err := w.skip(size); err != nil {
					return err
				}
				continue
			}
		}
		if err := w.items(s, first, count); err != nil {
			return err
		}
		first += count
	}
}

// items walks those of one block, which begins with the item of number first.
func (w *walker) items(s *step, first, count int64) error {
	switch {
	case s.n == 0:
		return nil // Items without bytes.
	case count > int64(len(w.body)-w.at):
		return fmt.Errorf("a block of %d items in %d bytes", count, len(w.body)-w.at)
	}
	counted := s.ruled && s.op == opArray
	if counted {
		w.level++
	}
	for i := range count {
		if s.op == opMap {
			if err := w.skipStrings(1); err != nil {
				return err
			}
		}
		if counted && w.level <= maxIndexes {
			w.indexes[w.level-1] = first + i
		}
		if err := w.walk(s.body); err != nil {
			return err
		}
	}
	if counted {
		w.level--
	}
	return nil
}

func (w *walker) skip(n int64) error {
	if n < 0 || n > int64(len(w.body)-w.at) {
		return errShort
	}
	w.at += int(n)
	return nil
}

func (w *walker) skipVarints(n int) error {
	body, at := w.body, w.at
	for ; n > 0; n-- {
		from := at
		for at < len(body) && body[at] >= 0x80 {
			at++
		}
		if at >= len(body) {
			return errShort
		}
		if at-from >= binary.MaxVarintLen64 {
			return errVarint
		}
		at++
	}
	w.at = at
	return nil
}

func (w *walker) skipStrings(n int) error {
	for ; n > 0; n-- {
		size, err := w.varint()
		if err != nil {
			return err
		}
		if err := w.skip(size); err != nil {
			return err
		}
	}
	return nil
}

var errVarint = errors.New("a number of more than 64 bits")

// varint reads an int, a long, a length or a branch.
func (w *walker) varint() (int64, error) {
	if w.at < len(w.body) {
		if b := w.body[w.at]; b < 0x80 {
			w.at++
			return int64(b>>1) ^ -int64(b&1), nil
		}
	}
	v, n := binary.Uvarint(w.body[w.at:])
	switch {
	case n == 0:
		return 0, errShort
	case n < 0:
		return 0, errVarint
	}
	w.at += n
	return int64(v>>1) ^ -int64(v&1), nil
}

func (w *walker) whole(s *step, v int64) {
	b := s.bounds
	if b.minimum.rule != nil && v < b.minimum.whole {
		w.tell(b.minimum.rule, wholeText(v, b))
	}
	if b.maximum.rule != nil && v > b.maximum.whole {
		w.tell(b.maximum.rule, wholeText(v, b))
	}
}

// float holds a number to its bounds; what is no number keeps none of them.
func (w *walker) float(s *step, v float64, bits int) {
	b := s.bounds
	if b.minimum.rule != nil && !(v >= b.minimum.float) {
		w.tell(b.minimum.rule, strconv.FormatFloat(v, 'g', -1, bits))
	}
	if b.maximum.rule != nil && !(v <= b.maximum.float) {
		w.tell(b.maximum.rule, strconv.FormatFloat(v, 'g', -1, bits))
	}
}

// decimal holds the next n bytes to the bounds.
func (w *walker) decimal(s *step, n int64) error {
	from := w.at
	if err := w.skip(n); err != nil {
		return err
	}
	if n == 0 {
		return errors.New("a decimal of no bytes")
	}
	b, content := s.bounds, shortest(w.body[from:w.at])
	if b.minimum.rule != nil && compare(content, b.minimum.decimal) < 0 {
		w.tell(b.minimum.rule, decimalText(content, b.scale))
	}
	if b.maximum.rule != nil && compare(content, b.maximum.decimal) > 0 {
		w.tell(b.maximum.rule, decimalText(content, b.scale))
	}
	return nil
}

// tell keeps a violation, unless its rule was broken before in this body.
func (w *walker) tell(r *Rule, value string) {
	for i := range w.found {
		if w.found[i].Rule == r {
			return
		}
	}
	// The rule's path has a [] for each array that the walk is in.
	path := r.Path
	for i := min(w.level, maxIndexes) - 1; i >= 0; i-- {
		if at := nth(r.Path, "[]", i); at >= 0 {
			path = path[:at+1] + strconv.FormatInt(w.indexes[i], 10) + path[at+1:]
		}
	}
	w.found = append(w.found, Violation{Rule: r, Path: path, Value: value})
}

// nth is where the text stands for the n-th time, from 0; -1 where it does not.
func nth(s, text string, n int) int {
	at := -1
	for ; n >= 0; n-- {
		next := strings.Index(s[at+1:], text)
		if next < 0 {
			return -1
		}
		at += 1 + next
	}
	return at
}
