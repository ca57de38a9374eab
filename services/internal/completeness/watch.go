package completeness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Watch verifies products piece by piece while their writer runs, one at a time. What is wrong is looked at again in every round, so
// that a report says what stands now. It is not safe for concurrent use.
type Watch struct {
	deps     Deps
	letters  *follower
	products map[string]*watched // by topic
}

// WatchConfig bounds what one round costs.
type WatchConfig struct {
	// Fresh bounds the offsets of a product that a round judges for the first time; a twentieth as many old ones are judged again.
	Fresh int64
	// Letters bounds what is remembered of dead-letters.
	Letters int
}

// watched is where one product stands.
type watched struct {
	WatchConfig
	Product
	topicID [16]byte
	// next is the first offset of each partition that no round has judged; again is where the judging of the older ones stands.
	next, again map[int32]int64
	faulty      []Run
}

const (
	// againShare is one over the share of old offsets, beside the fresh ones.
	againShare = 20
	// catchingUpShare is one over the share of a round's fresh offsets that may wait for the writer.
	catchingUpShare = 10
	// faultyWindow is the size of the windows, in offsets, in which faults are remembered, maxFaulty how many are. When there are
	// more, the watch goes no further until they are mended.
	faultyWindow, maxFaulty = 4096, 64
)

// ErrCatchingUp says that nothing was judged, because the writer is far behind: it needs memory and processor itself.
var ErrCatchingUp = errors.New("the writer is catching up")

// NewWatch makes a Watch; nothing connects before Round.
func NewWatch(config WatchConfig, deps Deps, products []Product) *Watch {
	w := &Watch{deps: deps, letters: follow(deps, config.Letters), products: map[string]*watched{}}
	w.letters.groups = map[string]bool{}
	for _, p := range products {
		w.products[p.Contract.Topic.Name] = &watched{WatchConfig: config, Product: p}
		w.letters.groups[p.group()] = true
	}
	return w
}

// Round judges what has been committed since the last round in the partitions that are owned, a part of what is older, and what was
// found wrong. Of a partition that it sees for the first time it begins as far back as a round reaches. behind are the committed
// offsets that have to wait for the next rounds. ErrCatchingUp is for all of them to wait.
func (w *Watch) Round(ctx context.Context, topic string, owned func(partition int32) bool) (report Report, behind int64, err error) {
	p := w.products[topic]
	v := newVerification(w.deps, p.Product, w.letters)
	if err := v.begin(ctx); err != nil {
		return v.report, 0, err
	}
	if p.topicID != v.topic.ID || p.next == nil {
		p.topicID, p.next, p.again, p.faulty = v.topic.ID, map[int32]int64{}, map[int32]int64{}, nil
	}
	if err := w.letters.catchUp(ctx); err != nil {
		return v.report, 0, err
	}
	v.letters = w.letters.of[v.box()]
	held, err := v.Admin.Offsets(ctx, v.topic.TopicPartitions(), true)
	if err != nil {
		return v.report, 0, err
	}
	var judged []Run
	for _, tp := range v.topic.TopicPartitions() {
		if committed, known := v.committed[tp.Partition]; known && owned(tp.Partition) {
			judged = append(judged, Run{tp.Partition, held[tp].Earliest, committed})
		}
	}
	chosen := p.choose(judged)
	var waiting int64
	for _, r := range judged {
		waiting += max(0, held[v.partition(r)].Latest-r.To)
	}
	if waiting > p.Fresh/catchingUpShare {
		return v.report, chosen.behind + chosen.fresh, ErrCatchingUp
	}
	if err := v.judge(ctx, chosen.runs, nil); err != nil {
		return v.report, chosen.behind, err
	}
	p.remember(chosen, &v.report)
	return v.report, chosen.behind, nil
}

// choice of what a round judges, and where the next one goes on.
type choice struct {
	runs, faulty []Run
	next, again  map[int32]int64
	// fresh are the offsets that it judges for the first time, behind those that have to wait.
	fresh, behind int64
}

// choose takes from the runs that can be judged, one a partition. Room goes to the partitions with least to do first, so that
// one with much leaves the others theirs.
func (p *watched) choose(judged []Run) choice {
	c := choice{next: map[int32]int64{}, again: map[int32]int64{}}
	fresh, begin := slices.Clone(judged), map[int32]int64{}
	for i := range fresh {
		r := &fresh[i]
		next, seen := p.next[r.Partition]
		if !seen {
			next = r.To - p.Fresh/int64(len(fresh))
		}
		r.From = max(r.From, min(next, r.To)) // The group may have been set back.
		begin[r.Partition] = r.From
		for _, f := range p.faulty {
			if f.Partition == r.Partition {
				f.From, f.To = max(f.From, judged[i].From), min(f.To, r.To)
				if f.From < f.To {
					c.faulty = append(c.faulty, f)
				}
			}
		}
	}
	slices.SortStableFunc(fresh, func(a, b Run) int { return cmp.Compare(a.To-a.From, b.To-b.From) })
	room := p.Fresh
	for i, r := range fresh {
		to := max(r.From, min(r.To, r.From+room/int64(len(fresh)-i)))
		room -= to - r.From
		c.fresh += to - r.From
		c.behind += max(0, r.To-to)
		c.runs = append(c.runs, Run{r.Partition, r.From, to})
		c.next[r.Partition] = to
	}
	for _, r := range judged {
		old := Run{r.Partition, max(r.From, p.again[r.Partition]), begin[r.Partition]}
		if old.From >= old.To {
			old.From = r.From // Around again.
		}
		old.To = min(old.To, old.From+max(1, p.Fresh/againShare/int64(len(judged))))
		c.again[r.Partition] = max(old.From, old.To)
		c.runs = append(c.runs, old)
	}
	c.runs = append(without(c.runs, c.faulty), c.faulty...)
	return c
}

// remember takes a round's result. With more faults than can be remembered it stays where it is, and the next round says the same.
func (p *watched) remember(c choice, r *Report) {
	var faulty []Run
	for _, f := range r.Faults {
		for from := f.From / faultyWindow * faultyWindow; from < f.To; from += faultyWindow {
			if one := (Run{f.Partition, from, from + faultyWindow}); !slices.Contains(faulty, one) {
				faulty = append(faulty, one)
			}
			if len(faulty) > maxFaulty {
				return
			}
		}
	}
	if r.LeftOut > 0 {
		return
	}
	sortRuns(faulty)
	p.next, p.again, p.faulty = c.next, c.again, nil
	for _, f := range faulty {
		if n := len(p.faulty); n > 0 && p.faulty[n-1].Partition == f.Partition && p.faulty[n-1].To == f.From {
			p.faulty[n-1].To = f.To
			continue
		}
		p.faulty = append(p.faulty, f)
	}
}

// without are the runs, less what others have of them.
func without(runs, others []Run) (rest []Run) {
	for _, r := range runs {
		pieces := []Run{r}
		for _, o := range others {
			var cut []Run
			for _, piece := range pieces {
				if o.Partition != piece.Partition {
					cut = append(cut, piece)
					continue
				}
				cut = append(cut, Run{r.Partition, piece.From, min(piece.To, o.From)}, Run{r.Partition, max(piece.From, o.To), piece.To})
			}
			pieces = cut
		}
		for _, piece := range pieces {
			if piece.From < piece.To {
				rest = append(rest, piece)
			}
		}
	}
	return rest
}

// Views compares the buckets of the hour before at and of at's own with the table; of a view with coarser buckets, as many of those.
// schema is the self-contained text of the value's.
func (w *Watch) Views(ctx context.Context, topic, schema string, at time.Time) ([]View, error) {
	v := newVerification(w.deps, w.products[topic].Product, w.letters)
	if len(v.Product.Views) == 0 {
		return nil, nil
	}
	v.Schema = schema
	if err := v.begin(ctx); err != nil {
		return nil, err
	}
	for _, view := range v.Product.Views {
		span := time.Hour
		for _, r := range view.Every {
			if r.Interval == "1d" {
				span = 24 * time.Hour
			}
		}
		begin := at.UTC().Truncate(span)
		v.only = window{begin.Add(-span), begin.Add(span)}
		if err := v.view(ctx, view); err != nil {
			return nil, fmt.Errorf("view %s: %w", view.Name, err)
		}
	}
	return v.report.Views, nil
}
