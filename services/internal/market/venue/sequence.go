package venue

import (
	"strconv"

	"github.com/streamforge/streamforge/services/internal/market"
)

// maxSequences bounds how many symbols a Sequences follows; further ones go unchecked rather than cost memory.
const maxSequences = 16384

// Sequences follows the ids of one connection, per symbol and channel. It holds the two rules that venues have; which
// one applies is the venue's to say. Its zero value is ready; it is not safe for concurrent use.
type Sequences struct {
	last map[Channel]map[string]*sequence
}

type sequence struct {
	symbol string
	id     int64
}

// find returns what is known of the frame's symbol and channel; first says that nothing was.
func (q *Sequences) find(in *Inspection) (known *sequence, first bool) {
	symbols := q.last[in.Channel]
	if known := symbols[string(in.VenueSymbol)]; known != nil {
		return known, false
	}
	if symbols == nil {
		if q.last == nil {
			q.last = make(map[Channel]map[string]*sequence)
		}
		symbols = make(map[string]*sequence)
		q.last[in.Channel] = symbols
	}
	if len(symbols) >= maxSequences {
		return nil, true
	}
	known = &sequence{symbol: string(in.VenueSymbol), id: in.LastID.Value}
	symbols[known.symbol] = known
	return known, true
}

// Contiguous holds that ids grow by one: FirstID must be the last id plus one. Frames that only repeat older ids are no
// hole. A snapshot starts anew.
func (q *Sequences) Contiguous(in *Inspection) *SequenceGap {
	if !in.FirstID.Valid || !in.LastID.Valid {
		return nil
	}
	known, first := q.find(in)
	if first {
		return nil
	}
	last := known.id
	if in.Snapshot {
		known.id = in.LastID.Value
		return nil
	}
	known.id = max(last, in.LastID.Value)
	if in.FirstID.Value <= last+1 {
		return nil
	}
	return &SequenceGap{
		VenueSymbol: known.symbol,
		Channel:     in.Channel,
		FromID:      strconv.FormatInt(last+1, 10),
		ToID:        strconv.FormatInt(in.FirstID.Value-1, 10),
		Missing:     market.Some(in.FirstID.Value - 1 - last),
		Detail:      "ids after " + strconv.FormatInt(last, 10) + " are missing before " + strconv.FormatInt(in.FirstID.Value, 10),
	}
}

// Linked holds that every frame names the id before it: PreviousID must be the last id. Frames that only repeat older
// ids are no hole. A snapshot starts anew.
func (q *Sequences) Linked(in *Inspection) *SequenceGap {
	if !in.LastID.Valid || !in.PreviousID.Valid && !in.Snapshot {
		return nil
	}
	known, first := q.find(in)
	if first {
		return nil
	}
	last := known.id
	if in.Snapshot || in.PreviousID.Value == last {
		known.id = in.LastID.Value
		return nil
	}
	if in.LastID.Value <= last {
		return nil
	}
	known.id = in.LastID.Value
	return &SequenceGap{
		VenueSymbol: known.symbol,
		Channel:     in.Channel,
		FromID:      strconv.FormatInt(last, 10),
		ToID:        strconv.FormatInt(in.PreviousID.Value, 10),
		Detail:      "the frame follows id " + strconv.FormatInt(in.PreviousID.Value, 10) + ", but the last one received was " + strconv.FormatInt(last, 10),
	}
}
