package records

import (
	"bytes"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/linkedin/goavro/v2"
	"pgregory.net/rapid"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/market"
)

// codec is the independent reader and writer of a subject: goavro with the schema file's own text.
func codec(t testing.TB, subject string) *goavro.Codec {
	t.Helper()
	s, err := schemas.Get(subject)
	if err != nil {
		t.Fatal(err)
	}
	text, err := schemas.SelfContained(s)
	if err != nil {
		t.Fatal(err)
	}
	c, err := goavro.NewCodec(text)
	if err != nil {
		t.Fatalf("goavro refuses %s: %v", subject, err)
	}
	return c
}

// roundTripThroughGoavro checks that goavro reads the whole body and writes the same bytes again.
func roundTripThroughGoavro(t *rapid.T, c *goavro.Codec, body []byte) map[string]any {
	native, rest, err := c.NativeFromBinary(body)
	if err != nil {
		t.Fatalf("goavro cannot read what was written: %v", err)
	}
	if len(rest) != 0 {
		t.Fatalf("goavro leaves %d bytes", len(rest))
	}
	again, err := c.BinaryFromNative(nil, native)
	if err != nil {
		t.Fatalf("goavro cannot write what it read: %v", err)
	}
	if !bytes.Equal(again, body) {
		t.Fatalf("goavro writes other bytes\n got %x\nwant %x", again, body)
	}
	return native.(map[string]any)
}

var (
	text      = rapid.StringMatching(`[A-Za-z0-9/_-]{0,12}`)
	nonEmpty  = rapid.StringMatching(`[A-Za-z0-9/_-]{1,12}`)
	time56    = rapid.Int64Range(-1<<50, 1<<50)
	someBytes = rapid.SliceOfN(rapid.Byte(), 0, 40)
)

func optText(t *rapid.T, label string) string {
	if rapid.Bool().Draw(t, label+"?") {
		return nonEmpty.Draw(t, label)
	}
	return ""
}

func optInt(t *rapid.T, label string) market.OptInt {
	if rapid.Bool().Draw(t, label+"?") {
		return market.Some(rapid.Int64().Draw(t, label))
	}
	return market.OptInt{}
}

func optTime(t *rapid.T, label string) int64 {
	if rapid.Bool().Draw(t, label+"?") {
		return time56.Draw(t, label)
	}
	return market.NoTime
}

// decimal draws a number of at most 38 digits; goavro writes the same minimal two's complement.
func decimal(t *rapid.T, label string) market.Decimal {
	d, _, err := market.ParseDecimal([]byte(rapid.StringMatching(`-?[0-9]{1,19}(\.[0-9]{1,18})?`).Draw(t, label)))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func coordinates(t *rapid.T) Coordinates {
	c := Coordinates{Partition: rapid.Int32().Draw(t, "partition"), Offset: rapid.Int64().Draw(t, "offset"), Item: rapid.Int32().Draw(t, "item")}
	copy(c.TopicID[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "topic id"))
	return c
}

func instrument(t *rapid.T) *market.Instrument {
	return &market.Instrument{Venue: text.Draw(t, "venue"), Symbol: text.Draw(t, "symbol"), VenueSymbol: text.Draw(t, "venue symbol")}
}

func TestFrameIsWhatItsSchemaSays(t *testing.T) {
	c := codec(t, "raw-frames-value")
	rapid.Check(t, func(t *rapid.T) {
		want := Frame{
			Kind:  FrameKind(rapid.IntRange(0, 5).Draw(t, "kind")),
			Venue: text.Draw(t, "venue"), Feed: text.Draw(t, "feed"),
			LoaderEpoch: rapid.Int64().Draw(t, "epoch"), Connection: rapid.Int64().Draw(t, "connection"), Sequence: rapid.Int64().Draw(t, "sequence"),
			VenueSymbol: optText(t, "venue symbol"), Request: optText(t, "request"),
			ReceivedAt: time56.Draw(t, "received at"), Payload: someBytes.Draw(t, "payload"),
		}
		body := want.AppendAvro(nil)
		native := roundTripThroughGoavro(t, c, body)
		if native["kind"] != want.Kind.String() || !bytes.Equal(native["payload"].([]byte), want.Payload) {
			t.Fatalf("goavro reads kind %v payload %x", native["kind"], native["payload"])
		}
		var got Frame
		if err := got.DecodeAvro(body); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestTradeIsWhatItsSchemaSays(t *testing.T) {
	c := codec(t, "raw-trades-value")
	rapid.Check(t, func(t *rapid.T) {
		at := coordinates(t)
		in := market.Trade{
			Instrument: instrument(t), ID: []byte(nonEmpty.Draw(t, "id")), Price: decimal(t, "price"), Quantity: decimal(t, "quantity"),
			TakerSide: market.Side(rapid.IntRange(0, 2).Draw(t, "side")), EventTime: optTime(t, "event time"), Item: at.Item,
		}
		received := time56.Draw(t, "received at")
		body := AppendTrade(nil, &in, received, at)
		native := roundTripThroughGoavro(t, c, body)
		price := native["price"].(*big.Rat)
		if want := in.Price.AppendText(nil, market.Scale); price.FloatString(market.Scale) != string(want) {
			t.Fatalf("goavro reads price %s, written %s", price.FloatString(market.Scale), want)
		}
		var got Trade
		if err := got.DecodeAvro(body); err != nil {
			t.Fatal(err)
		}
		want := Trade{
			Venue: in.Instrument.Venue, Symbol: in.Instrument.Symbol, VenueSymbol: in.Instrument.VenueSymbol,
			TradeID: string(in.ID), Price: in.Price, Quantity: in.Quantity, TakerSide: in.TakerSide,
			EventTime: in.EventTime, ReceivedAt: received, Frame: at,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestOrderbookIsWhatItsSchemaSays(t *testing.T) {
	c := codec(t, "raw-orderbooks-value")
	levels := rapid.Custom(func(t *rapid.T) market.Level {
		return market.Level{Price: decimal(t, "price"), Quantity: decimal(t, "quantity")}
	})
	rapid.Check(t, func(t *rapid.T) {
		at := coordinates(t)
		in := market.Book{
			Kind: market.BookKind(rapid.IntRange(0, 3).Draw(t, "kind")), Instrument: instrument(t),
			FirstUpdateID: optInt(t, "first"), LastUpdateID: optInt(t, "last"), PreviousUpdateID: optInt(t, "previous"), Checksum: optInt(t, "checksum"),
			PriceScale: rapid.Int32Range(0, 18).Draw(t, "price scale"), QuantityScale: rapid.Int32Range(0, 18).Draw(t, "quantity scale"),
			Bids: rapid.SliceOfN(levels, 0, 5).Draw(t, "bids"), Asks: rapid.SliceOfN(levels, 0, 5).Draw(t, "asks"),
			GapReason: optText(t, "gap reason"), EventTime: optTime(t, "event time"), Item: at.Item,
		}
		if rapid.Bool().Draw(t, "depth?") {
			in.Depth = market.Some(int64(rapid.Int32().Draw(t, "depth")))
		}
		received := time56.Draw(t, "received at")
		body := AppendBook(nil, &in, received, at)
		roundTripThroughGoavro(t, c, body)
		var got Orderbook
		if err := got.DecodeAvro(body); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(in, got.Book, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
		if got.ReceivedAt != received || got.Frame != at {
			t.Fatalf("received %d at %v, want %d at %v", got.ReceivedAt, got.Frame, received, at)
		}
	})
}

func TestGapResyncDeadLetterAndControlAreWhatTheirSchemasSay(t *testing.T) {
	gaps, resyncs, letters, controls := codec(t, "feed-gaps-value"), codec(t, "orderbook-resyncs-value"), codec(t, "dead-letters-value"), codec(t, "group-controls-value")
	rapid.Check(t, func(t *rapid.T) {
		i := instrument(t)
		gap := FeedGap{
			Venue: i.Venue, Symbol: i.Symbol, VenueSymbol: i.VenueSymbol, Feed: text.Draw(t, "feed"), Channel: text.Draw(t, "channel"),
			FromTime: optTime(t, "from"), ToTime: optTime(t, "to"), FromID: optText(t, "from id"), ToID: optText(t, "to id"),
			Missing: optInt(t, "missing"), Reason: rapid.SampledFrom(market.GapReasons).Draw(t, "reason"), Detail: text.Draw(t, "detail"),
			ReceivedAt: time56.Draw(t, "received"), Frame: coordinates(t),
		}
		body := gap.AppendAvro(nil)
		if native := roundTripThroughGoavro(t, gaps, body); native["reason"] != string(gap.Reason) {
			t.Fatalf("goavro reads reason %v, written %s", native["reason"], gap.Reason)
		}
		var gotGap FeedGap
		if err := gotGap.DecodeAvro(body); err != nil {
			t.Fatal(err)
		}
		resync := OrderbookResync{
			Venue: i.Venue, Symbol: i.Symbol, VenueSymbol: i.VenueSymbol, BrokenSince: coordinates(t), Reason: text.Draw(t, "reason"), RequestedAt: time56.Draw(t, "requested"),
		}
		body = resync.AppendAvro(nil)
		roundTripThroughGoavro(t, resyncs, body)
		var gotResync OrderbookResync
		if err := gotResync.DecodeAvro(body); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(gap, gotGap) + cmp.Diff(resync, gotResync); diff != "" {
			t.Fatal(diff)
		}
		control := GroupControl{
			Group: text.Draw(t, "group"), State: GroupState(rapid.IntRange(0, 2).Draw(t, "state")), Reason: text.Draw(t, "reason"),
			RequestedBy: text.Draw(t, "by"), RequestedAt: time56.Draw(t, "at"),
		}
		body = control.AppendAvro(nil)
		if native := roundTripThroughGoavro(t, controls, body); native["state"] != []string{"UNKNOWN", "RUNNING", "PAUSED"}[control.State] {
			t.Fatalf("goavro reads state %v, written %d", native["state"], control.State)
		}
		var gotControl GroupControl
		if err := gotControl.DecodeAvro(body); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(control, gotControl); diff != "" {
			t.Fatal(diff)
		}
		letter := deadLetter(t)
		body = letter.AppendAvro(nil)
		roundTripThroughGoavro(t, letters, body)
		var gotLetter DeadLetter
		if err := gotLetter.DecodeAvro(body); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(letter, gotLetter, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func deadLetter(t *rapid.T) DeadLetter {
	at := coordinates(t)
	letter := DeadLetter{
		Status: DeadLetterStatus(rapid.IntRange(0, 3).Draw(t, "status")), Group: text.Draw(t, "group"), Topic: text.Draw(t, "topic"),
		TopicID: at.TopicID, Partition: at.Partition, Offset: at.Offset, Item: at.Item,
		Key: someBytes.Draw(t, "key"), Value: someBytes.Draw(t, "value"), RecordTime: time56.Draw(t, "time"),
		ErrorClass: text.Draw(t, "class"), Error: text.Draw(t, "error"), FailedAt: time56.Draw(t, "failed"), Producer: text.Draw(t, "producer"),
		ResolvedAt: optTime(t, "resolved"), Resolution: optText(t, "resolution"),
	}
	if rapid.Bool().Draw(t, "schema id?") {
		letter.SchemaID = market.Some(int64(rapid.Int32().Draw(t, "schema id")))
	}
	for range rapid.IntRange(0, 3).Draw(t, "headers") {
		letter.Headers = append(letter.Headers, Header{Name: nonEmpty.Draw(t, "name"), Value: someBytes.Draw(t, "header")})
	}
	return letter
}

// TestABodyCutShortIsAnError holds for every prefix: no prefix of a valid body is valid, and none panics.
func TestABodyCutShortIsAnError(t *testing.T) {
	frame := Frame{Kind: FrameData, Venue: "binance", Feed: "b-0", VenueSymbol: "BTCUSDT", ReceivedAt: 1, Payload: []byte("{}")}
	body := frame.AppendAvro(nil)
	for n := range body {
		var got Frame
		if err := got.DecodeAvro(body[:n]); err == nil {
			t.Errorf("the first %d of %d bytes read as a whole record", n, len(body))
		}
	}
	if err := new(Frame).DecodeAvro(append(body, 0)); err == nil {
		t.Error("a byte left over is no error")
	}
}

// TestNamesAreTheSameStrings holds DecodeInterned against DecodeAvro, beyond the bound of what is remembered.
func TestNamesAreTheSameStrings(t *testing.T) {
	names := NewNames()
	var got Frame
	for i := range 3 * maxNames {
		want := Frame{Kind: FrameData, Venue: fmt.Sprint("venue-", i%7), Feed: fmt.Sprint("feed-", i), Payload: []byte("{}")}
		if i%3 == 0 {
			want.VenueSymbol = strings.Repeat("x", i%(2*maxNameBytes))
		}
		if err := got.DecodeInterned(want.AppendAvro(nil), names); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	}
	if len(names.known) > maxNames {
		t.Errorf("%d names are remembered", len(names.known))
	}
	a, b := Frame{Venue: "binance", Feed: "a"}, Frame{Venue: "kraken", Feed: "b"}
	bodies := [][]byte{a.AppendAvro(nil), b.AppendAvro(nil)}
	if n := testing.AllocsPerRun(100, func() {
		for _, body := range bodies {
			_ = got.DecodeInterned(body, names)
		}
	}); n > 0 {
		t.Errorf("%v allocations for feeds in turn", n)
	}
}

func FuzzDecode(f *testing.F) {
	frame := Frame{Kind: FrameData, Venue: "binance", Feed: "b-0", Payload: []byte("{}")}
	f.Add(frame.AppendAvro(nil))
	f.Fuzz(func(_ *testing.T, body []byte) {
		_ = new(Frame).DecodeAvro(body)
		_ = new(Trade).DecodeAvro(body)
		_ = new(Orderbook).DecodeAvro(body)
		_ = new(FeedGap).DecodeAvro(body)
		_ = new(OrderbookResync).DecodeAvro(body)
		_ = new(DeadLetter).DecodeAvro(body)
		_ = new(GroupControl).DecodeAvro(body)
	})
}

func BenchmarkTrade(b *testing.B) {
	price, _, _ := market.ParseDecimal([]byte("61837.63000000"))
	in := market.Trade{
		Instrument: &market.Instrument{Venue: "binance", Symbol: "BTC-USDT", VenueSymbol: "BTCUSDT"},
		ID:         []byte("3735683259"), Price: price, Quantity: price, TakerSide: market.Sell, EventTime: 1723161255342000,
	}
	buffer := make([]byte, 0, 256)
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			buffer = AppendTrade(buffer[:0], &in, 1723161255342000, Coordinates{Offset: 12345})
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		var t Trade
		for b.Loop() {
			if err := t.DecodeAvro(buffer); err != nil {
				b.Fatal(err)
			}
		}
	})
}
