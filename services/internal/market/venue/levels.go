package venue

import (
	"errors"
	"fmt"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue/jsonscan"
)

// errShortLevel says that a level has no quantity, or is empty.
var errShortLevel = errors.New("a level needs a price and a quantity")

// LevelRange is where the levels of one side stand in Events.Levels.
type LevelRange struct{ From, To int }

// Of returns the levels; the slice cannot grow into its neighbours.
func (r LevelRange) Of(ev *Events) []market.Level { return ev.Levels[r.From:r.To:r.To] }

// Len returns the number of levels.
func (r LevelRange) Len() int { return r.To - r.From }

// Side reads [["price","quantity",…],…] into the arena of ev and remembers the scales in b. It reads the whole array
// whatever it finds; the first fault is returned, a syntax error is the scanner's.
func Side(s *jsonscan.Scanner, ev *Events, b *market.Book) (r LevelRange, err error) {
	r.From = len(ev.Levels)
	if r.To = r.From; !s.Array() {
		return r, s.TakeFault()
	}
	for s.NextItem() {
		level, fault := readLevel(s, b)
		if fault != nil && err == nil {
			err = fmt.Errorf("level %d: %w", len(ev.Levels)-r.From, fault)
		}
		ev.Levels = append(ev.Levels, level)
	}
	r.To = len(ev.Levels)
	return r, err
}

func readLevel(s *jsonscan.Scanner, b *market.Book) (level market.Level, err error) {
	if !s.Array() {
		return level, s.TakeFault()
	}
	n := 0
	for ; s.NextItem(); n++ {
		switch n {
		case 0:
			level.Price, err = ParseAmount(s.Text(), &b.PriceScale)
		case 1:
			var fault error
			if level.Quantity, fault = ParseAmount(s.Text(), &b.QuantityScale); err == nil {
				err = fault
			}
		default:
			s.Skip()
		}
	}
	if fault := s.TakeFault(); fault != nil {
		err = fault
	}
	if n < 2 && err == nil {
		err = errShortLevel
	}
	return level, err
}

// Mark remembers how much Events held before a frame, so that a frame that turns out bad leaves nothing behind.
type Mark struct{ trades, books, bad, levels int }

// MarkOf remembers what ev holds now.
func MarkOf(ev *Events) Mark {
	return Mark{len(ev.Trades), len(ev.Books), len(ev.Bad), len(ev.Levels)}
}

// Restore takes back what came after the mark.
func (m Mark) Restore(ev *Events) {
	ev.Trades, ev.Books, ev.Bad, ev.Levels = ev.Trades[:m.trades], ev.Books[:m.books], ev.Bad[:m.bad], ev.Levels[:m.levels]
	ev.Ignored, ev.Unknown = "", ""
}
