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

// readLetters reads dead-letters once, for all products. Items of a record say nothing of the record's row.
func readLetters(ctx context.Context, client kafka.ClientConfig) (map[letterBox]letters, error) {
	all, kept := map[letterBox]letters{}, 0
	err := kafka.ReadAll(ctx, client, []string{deadletters.Topic}, func(r kafka.Record) error {
		if r.Value == nil {
			return nil
		}
		word, err := deadletters.ReadWord(r)
		if err != nil || word.Letter.Item != records.WholeRecord {
			return err
		}
		box := letterBox{word.Letter.Group, word.Letter.TopicID}
		if all[box] == nil {
			all[box] = letters{}
		}
		of := all[box][word.Letter.Partition]
		if of == nil {
			of = partitionLetters{}
			all[box][word.Letter.Partition] = of
		}
		if of[word.Letter.Offset] == 0 {
			kept++
		}
		if kept > maxLetters {
			return fmt.Errorf("%s holds more than %d letters; resolve them first", deadletters.Topic, maxLetters)
		}
		of[word.Letter.Offset] = kindOf(&word)
		return nil
	})
	return all, err
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
