package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/records"
	"github.com/streamforge/streamforge/services/internal/registry"
	"github.com/streamforge/streamforge/services/internal/subscription"
)

// lastWords are the last words on the letters, by key.
func (s *stack) lastWords() map[string]deadletters.Word {
	s.t.Helper()
	words := map[string]deadletters.Word{}
	err := kafka.ReadAll(context.Background(), s.kafka, []string{deadletters.Topic}, func(r kafka.Record) error {
		word, err := deadletters.ReadWord(r)
		words[string(r.Key)] = word
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return words
}

// ask asks for the replay of letters, as the command does, and says when.
func (s *stack) ask(words map[string]deadletters.Word) (at time.Time) {
	s.t.Helper()
	at = time.Now()
	id := must[int](s.t)(s.schemas.ID(s.t.Context(), deadletters.Subject))
	w := &deadletters.Writer{SchemaID: id, Producer: "test@0"}
	for _, word := range words {
		m := w.Ask(word, "asked for by the test")
		if err := s.producer.Produce(&m); err != nil {
			s.t.Fatal(err)
		}
	}
	s.flush()
	return at
}

// answers waits until no request is open, and returns what every letter of an offset and item came to.
func (s *stack) answers() map[string]string {
	s.t.Helper()
	answers := map[string]string{}
	s.await("answers to all requests", func() bool {
		clear(answers)
		for _, word := range s.lastWords() {
			l := word.Letter
			answers[fmt.Sprintf("%d/%d", l.Offset, l.Item)] = word.Status() + " " + l.ErrorClass
			if word.Status() == deadletters.StatusAsked {
				return false
			}
		}
		return true
	})
	return answers
}

// What could not be parsed is replayed when its cause is mended: one item of a frame, with the coordinates of that frame, beside siblings
// that are there already; a whole frame; a gap. Books are left alone, and what is still bad fails again.
func TestAReplayMakesWhatWasMissing(t *testing.T) { onEachStack(t, replayMakesWhatWasMissing) }

func replayMakesWhatWasMissing(t *testing.T, s *stack) {
	const tooFine = `{"e":"trade","E":1723161255342,"s":"BTCUSDT","t":1,"p":"0.1234567890123456789","q":"1","T":1723161255341,"m":true}`
	gap := frame("binance", `{"venue_symbols":["BTCUSDT","???"],"channel":"trades","reason":"SEQUENCE_GAP","detail":""}`)
	gap.Kind = records.FrameGap
	// One feed, so that offsets are the order here.
	for i, f := range []*records.Frame{freeTrades(t, 100, 0, 200), frame("binance", tooFine), frame("binance", freeBook), gap, freeTrades(t, 300)} {
		f.Feed, f.Sequence = "one", int64(i)
		s.send("one", s.value(f), at)
	}
	s.send("one", []byte("no wire format"), at)
	first := s.start(Config{})
	s.drained()
	want := map[string]string{"0/1": "failed rule", "1/-1": "failed bad-frame", "2/0": "failed rule", "3/1": "failed bad-item", "5/-1": "failed not-wire"}
	if diff := cmp.Diff(want, s.answers()); diff != "" {
		t.Fatal(diff)
	}
	gaps := len(s.read(topicGaps))
	books := len(s.read(topicBooks))

	before := s.lastWords()
	asked := s.ask(before)
	if diff := cmp.Diff(want, s.answers()); diff != "" {
		t.Fatalf("nothing is mended yet: %s", diff)
	}
	for key, word := range s.lastWords() {
		if word.Letter.FailedAt < asked.UnixMicro() {
			t.Errorf("%s failed before it was asked for", key)
		}
	}
	if n := len(s.read(topicTrades)); n != 3 {
		t.Fatalf("%d trades", n)
	}
	first.stop()

	// Somebody has mended the rules.
	s.contracts = withRules(t, "count")
	second := s.start(Config{})
	s.ask(s.lastWords())
	want["0/1"] = "replayed rule"
	if diff := cmp.Diff(want, s.answers()); diff != "" {
		t.Fatal(diff)
	}
	// Who asks again and has not seen the answer gets it once more, and nothing else.
	s.ask(before)
	if diff := cmp.Diff(want, s.answers()); diff != "" {
		t.Fatal(diff)
	}
	if n := second.count(t, "replays_total"); n < 10 {
		t.Errorf("%v replays were counted", n)
	}
	second.stop()

	var got []string
	for _, trade := range readAs[records.Trade](s, topicTrades) {
		got = append(got, fmt.Sprintf("%d/%d %s", trade.Frame.Offset, trade.Frame.Item, trade.Price.String()))
		if trade.Frame.TopicID != s.topicID() || trade.ReceivedAt != at.UnixMicro() {
			t.Errorf("%+v", trade)
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"0/0 1", "0/1 0", "0/2 2", "4/0 3"}, got); diff != "" {
		t.Error(diff)
	}
	if g, b := len(s.read(topicGaps)), len(s.read(topicBooks)); g != gaps || b != books {
		t.Errorf("%d gaps and %d events of books before, %d and %d after", gaps, books, g, b)
	}
	for _, word := range s.lastWords() {
		if l := word.Letter; l.Offset == 2 && !strings.Contains(l.Error, "events of a book are not replayed") {
			t.Errorf("the book's letter: %s", l.Error)
		}
	}
}

// Two parsers of a group share the replays, and are killed in the middle of them again and again.
func TestAReplayIsOnceWhoeverIsKilled(t *testing.T) { onEachStack(t, replayIsOnceWhoeverIsKilled) }

func replayIsOnceWhoeverIsKilled(t *testing.T, s *stack) {
	const frames = 60
	for i := range frames {
		s.send(fmt.Sprint(i), s.value(freeTrades(t, 100, 0)), at)
	}
	rate := 1.0
	first := s.start(Config{DeadLetterRate: &rate})
	s.drained()
	first.stop()
	words := s.lastWords()
	if len(words) != frames {
		t.Fatalf("%d letters", len(words))
	}
	start := func(ordinal int) *exec.Cmd {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childKafka+"="+s.kafka.BootstrapServers, childRegistry+"="+s.registry.URL, childRules+"=count", fmt.Sprintf("%s=%d", childOrdinal, ordinal))
		child.Stderr = os.Stderr
		child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		return child
	}
	children := []*exec.Cmd{start(0), start(1)}
	defer func() {
		for _, child := range children {
			_ = child.Process.Kill()
			_ = child.Wait()
		}
	}()
	s.ask(words)
	replayed := func() (n int) {
		for _, word := range s.lastWords() {
			if word.Status() == deadletters.StatusReplayed {
				n++
			}
		}
		return n
	}
	for kill := range 4 {
		// Whoever replays now is one of the two, so that a pair of kills hits him.
		if kill%2 == 0 {
			had := replayed()
			s.await("replays to go on", func() bool { n := replayed(); return n > had+3 || n == frames })
		}
		_ = children[kill%2].Process.Kill()
		_ = children[kill%2].Wait()
		children[kill%2] = start(kill % 2)
	}
	s.await("all replays", func() bool { return replayed() == frames })
	there := map[string]int{}
	for _, trade := range readAs[records.Trade](s, topicTrades) {
		there[fmt.Sprint(trade.Frame)]++
	}
	if len(there) != 2*frames {
		t.Errorf("%d trades are there, want %d", len(there), 2*frames)
	}
	for frame, n := range there {
		if n != 1 {
			t.Errorf("%s is there %d times", frame, n)
		}
	}
}

func TestWhatAReplayMakes(t *testing.T) {
	gap := frame("binance", `{"venue_symbols":["BTCUSDT","ETHUSDT"],"channel":"all","reason":"SEQUENCE_GAP","detail":""}`)
	gap.Kind = records.FrameGap
	opened := frame("binance", "")
	opened.Kind = records.FrameOpen
	trades := freeTrades(t, 100, 0, 200)
	for name, c := range map[string]struct {
		frame *records.Frame
		item  int32
		error string // of the letter
		want  string // what is produced, and what the replay says of it or the class and text of the new error
	}{
		"a whole frame":                       {trades, records.WholeRecord, "", "raw-trades dead-letters raw-trades: 2 trades, 0 gaps, 1 letters of its items"},
		"an item":                             {trades, 2, "", "raw-trades: 1 trades, 0 gaps, 0 letters of its items"},
		"an item that is bad still":           {trades, 1, "", "rule: price is 0, which breaks rule price:minimum 0.000000000000000001 of contract raw-trades"},
		"an item that is not there":           {trades, 3, "was odd", "before: was odd (not replayed: this build finds nothing at this item of the frame)"},
		"the rest of a frame":                 {trades, records.WholeRecord, standsForTheRest + "; from item 1 on", "before: " + standsForTheRest + "; from item 1 on (not replayed: nobody knows which items were produced; discard the letter)"},
		"a frame that is bad still":           {frame("binance", "{"), records.WholeRecord, "", "bad-frame:"},
		"an item of a frame that is bad":      {frame("bybit", "{"), 1, "", "bad-frame:"},
		"a book":                              {frame("binance", strings.Replace(freeBook, `,["0.000","1.0"]`, "", 1)), records.WholeRecord, "", "before: events of a book are not replayed: the book has had a GAP, and went on from a snapshot; discard the letter"},
		"gaps, but not of the book":           {gap, records.WholeRecord, "", "feed-gaps feed-gaps: 0 trades, 2 gaps, 0 letters of its items"},
		"the gap of one symbol":               {gap, 1, "", "feed-gaps: 0 trades, 1 gaps, 0 letters of its items"},
		"a connection that was opened":        {opened, records.WholeRecord, "", ": the frame holds nothing for a product"},
		"a venue that this build has not got": {frame("moon", "{}"), records.WholeRecord, "", "blocked"},
		"no value":                            {nil, records.WholeRecord, "too large", "before: too large (not replayed: the letter holds no value)"},
	} {
		p, _, _ := ruled(t, "divert")
		letter := records.DeadLetter{Group: "parser", Topic: topicFrames, TopicID: [16]byte{9}, Partition: 3, Offset: 77, Item: c.item, ErrorClass: "before", Error: c.error, RecordTime: at.UnixMicro()}
		if c.frame != nil {
			letter.Value = c.frame.AppendAvro(registry.AppendWireHeader(nil, 1))
		}
		out := &recorder{}
		made, err := p.replay(t.Context(), &letter, out)
		got := strings.Join(out.topics, " ") + ": " + made
		var bad *subscription.BadRecord
		var blocked *subscription.BlockedError
		switch {
		case errors.As(err, &bad):
			got = bad.Error()
		case errors.As(err, &blocked):
			got = "blocked"
		case err != nil:
			t.Fatal(err)
		}
		if got != c.want && !(strings.HasSuffix(c.want, ":") && strings.HasPrefix(got, c.want)) {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
		for i, topic := range out.topics {
			var trade records.Trade
			if topic != topicTrades || err != nil {
				continue
			}
			if err := trade.DecodeAvro(out.bodies[i]); err != nil || trade.Frame.TopicID != letter.TopicID || trade.Frame.Partition != 3 || trade.Frame.Offset != 77 {
				t.Errorf("%s: %+v %v", name, trade, err)
			}
		}
	}
}
