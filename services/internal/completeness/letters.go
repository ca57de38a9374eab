package completeness

import (
	"context"
	"fmt"
	"slices"

	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/records"
)

// letterKind is what the last word on a letter asks of the table.
type letterKind uint8

const (
	letterOpen     letterKind = iota + 1 // failed: no row
	letterMoving                         // a replay is asked for, or was when it was discarded: a row or none
	letterReplayed                       // the row has to be there
)

// letters are those of one writer's group and one topic id, by partition and offset of the record that they stand for.
type letters map[int32]partitionLetters

type partitionLetters map[int64]letterKind

// apart is what of a set the table should have: all but what letters stand for.
func (l partitionLetters) apart(held offsetSet, run Run) offsetSet {
	rest := offsetSet{held.from, slices.Clone(held.words)}
	for offset, kind := range l {
		if offset >= run.From && offset < run.To && kind != letterReplayed {
			rest.remove(offset)
		}
	}
	return rest
}

type letterBox struct {
	group   string
	topicID [16]byte
}

// maxLetters bounds what is kept of dead-letters, of all products together.
const maxLetters = 2_000_000

// follower reads dead-letters once for all products, and later only what has come since. Items of a record say nothing of the
// record's row.
type follower struct {
	tail  *kafka.Tail
	of    map[letterBox]letters
	kept  int
	limit int
	// groups are those whose letters are kept; all when it is nil.
	groups map[string]bool
}

func follow(deps Deps, limit int) *follower {
	f := &follower{tail: kafka.NewTail(deps.Kafka, deps.Admin, deadletters.Topic), of: map[letterBox]letters{}, limit: limit}
	f.tail.AheadKBytes = deps.AheadKBytes
	return f
}

func (f *follower) catchUp(ctx context.Context) error {
	return f.tail.CatchUp(ctx, func() { clear(f.of); f.kept = 0 }, f.note)
}

func (f *follower) note(r kafka.Record) error {
	if r.Value == nil {
		return nil
	}
	word, err := deadletters.ReadWord(r)
	if err != nil || word.Letter.Item != records.WholeRecord || f.groups != nil && !f.groups[word.Letter.Group] {
		return err
	}
	box := letterBox{word.Letter.Group, word.Letter.TopicID}
	if f.of[box] == nil {
		f.of[box] = letters{}
	}
	of := f.of[box][word.Letter.Partition]
	if of == nil {
		of = partitionLetters{}
		f.of[box][word.Letter.Partition] = of
	}
	if of[word.Letter.Offset] == 0 {
		if f.kept >= f.limit {
			return fmt.Errorf("%s holds more than %d letters; resolve them first", deadletters.Topic, f.limit)
		}
		f.kept++
	}
	of[word.Letter.Offset] = kindOf(&word)
	return nil
}

func kindOf(w *deadletters.Word) letterKind {
	switch w.Status() {
	case deadletters.StatusReplayed:
		return letterReplayed
	case deadletters.StatusFailed:
		return letterOpen
	}
	return letterMoving // A letter may be discarded while its replay is under way.
}
