package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/streamforge/streamforge/services/internal/deadletters"
	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/records"
)

func decimal(t testing.TB, text string) market.Decimal {
	t.Helper()
	d, _, err := market.ParseDecimal([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestFramesOfEveryKind sends one feed a record of every kind and compares all that comes of it.
func TestFramesOfEveryKind(t *testing.T) { onEachStack(t, framesOfEveryKind) }

func framesOfEveryKind(t *testing.T, s *stack) {
	one := func(kind records.FrameKind, sequence int64, change func(*records.Frame)) {
		f := &records.Frame{Kind: kind, Venue: "binance", Feed: "binance-0", LoaderEpoch: 1, Connection: 1, Sequence: sequence, ReceivedAt: at.UnixMicro() + sequence*1000}
		change(f)
		s.sendFrame(f)
	}
	one(records.FrameOpen, 0, func(*records.Frame) {})
	one(records.FrameData, 1, func(f *records.Frame) { f.Payload = binanceTrade("BTCUSDT", 42).Payload })
	one(records.FrameRESTSnapshot, 2, func(f *records.Frame) {
		f.VenueSymbol, f.Request = "BTCUSDT", "/api/v3/depth?symbol=BTCUSDT&limit=5000"
		f.Payload = []byte(`{"lastUpdateId":1000,"bids":[["61837.63","1.50"]],"asks":[["61837.64","2.25"]]}`)
	})
	one(records.FrameData, 3, func(f *records.Frame) {
		f.Payload = []byte(`{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161255208,"s":"BTCUSDT","U":1001,"u":1005,"b":[["61730.170","0.000"]],"a":[]}}`)
	})
	one(records.FrameGap, 4, func(f *records.Frame) {
		f.Payload = []byte(`{"venue_symbols":["BTCUSDT","ETHUSDT"],"channel":"all","reason":"CONNECTION_LOST","detail":"reset by peer","missing":7,"from":"2024-08-08T23:54:14Z","to_id":"9"}`)
	})
	one(records.FrameGap, 5, func(f *records.Frame) {
		f.Payload = []byte(`{"venue_symbols":["BTCUSDT"],"channel":"trades","reason":"SEQUENCE_GAP","detail":""}`)
	})
	one(records.FrameData, 6, func(f *records.Frame) { f.Payload = []byte(`{"result":null,"id":1}`) })
	one(records.FrameUnknown, 7, func(*records.Frame) {})
	one(records.FrameClose, 8, func(*records.Frame) {})
	p := s.start(Config{})
	s.drained()
	p.stop()

	frames := s.read(topicFrames)
	if len(frames) != 9 {
		t.Fatalf("%d frames", len(frames))
	}
	where := func(offset int64, item int32) records.Coordinates {
		return records.Coordinates{TopicID: s.topicID(), Partition: frames[0].Partition, Offset: offset, Item: item}
	}
	received := func(sequence int64) int64 { return at.UnixMicro() + sequence*1000 }
	wantTrades := []records.Trade{{
		Venue: "binance", Symbol: "BTC-USDT", VenueSymbol: "BTCUSDT", TradeID: "42", Price: decimal(t, "61837.63"), Quantity: decimal(t, "0.001"),
		TakerSide: market.Sell, EventTime: 1723161255341000, ReceivedAt: received(1), Frame: where(1, 0),
	}}
	if diff := cmp.Diff(wantTrades, readAs[records.Trade](s, topicTrades)); diff != "" {
		t.Error(diff)
	}
	btc := &market.Instrument{Venue: "binance", Symbol: "BTC-USDT", VenueSymbol: "BTCUSDT"}
	eth := &market.Instrument{Venue: "binance", Symbol: "ETH-USDT", VenueSymbol: "ETHUSDT"}
	wantBooks := map[string][]records.Orderbook{
		"BTC-USDT": {
			{Book: market.Book{
				Kind: market.BookSnapshot, Instrument: btc, LastUpdateID: market.Some(1000), PriceScale: 2, QuantityScale: 2, EventTime: market.NoTime,
				Bids: []market.Level{{Price: decimal(t, "61837.63"), Quantity: decimal(t, "1.5")}},
				Asks: []market.Level{{Price: decimal(t, "61837.64"), Quantity: decimal(t, "2.25")}},
			}, ReceivedAt: received(2), Frame: where(2, 0)},
			{Book: market.Book{
				Kind: market.BookUpdate, Instrument: btc, FirstUpdateID: market.Some(1001), LastUpdateID: market.Some(1005), PriceScale: 3, QuantityScale: 3, EventTime: 1723161255208000,
				Bids: []market.Level{{Price: decimal(t, "61730.17")}},
			}, ReceivedAt: received(3), Frame: where(3, 0)},
			{Book: market.Book{Kind: market.BookGap, Instrument: btc, GapReason: "CONNECTION_LOST", EventTime: market.NoTime}, ReceivedAt: received(4), Frame: where(4, 0)},
		},
		"ETH-USDT": {
			{Book: market.Book{Kind: market.BookGap, Instrument: eth, GapReason: "CONNECTION_LOST", EventTime: market.NoTime, Item: 1}, ReceivedAt: received(4), Frame: where(4, 1)},
		},
	}
	gotBooks := map[string][]records.Orderbook{}
	for _, b := range readAs[records.Orderbook](s, topicBooks) {
		gotBooks[b.Instrument.Symbol] = append(gotBooks[b.Instrument.Symbol], b)
	}
	if diff := cmp.Diff(wantBooks, gotBooks, cmpopts.EquateEmpty(), cmpopts.IgnoreUnexported(records.Orderbook{})); diff != "" {
		t.Error(diff)
	}
	gap := func(symbol string, offset int64, item int32) records.FeedGap {
		return records.FeedGap{
			Venue: "binance", Symbol: symbol, VenueSymbol: strings.ReplaceAll(symbol, "-", ""), Feed: "binance-0", Channel: "all",
			FromTime: time.Date(2024, 8, 8, 23, 54, 14, 0, time.UTC).UnixMicro(), ToTime: market.NoTime, ToID: "9", Missing: market.Some(7),
			Reason: market.GapConnectionLost, Detail: "reset by peer", ReceivedAt: received(offset), Frame: where(offset, item),
		}
	}
	wantGaps := []records.FeedGap{gap("BTC-USDT", 4, 0), gap("ETH-USDT", 4, 1), {
		Venue: "binance", Symbol: "BTC-USDT", VenueSymbol: "BTCUSDT", Feed: "binance-0", Channel: "trades",
		FromTime: market.NoTime, ToTime: market.NoTime, Reason: market.GapSequence, ReceivedAt: received(5), Frame: where(5, 0),
	}}
	order := cmpopts.SortSlices(func(a, b records.FeedGap) bool { return fmt.Sprint(a.Frame) < fmt.Sprint(b.Frame) })
	if diff := cmp.Diff(wantGaps, readAs[records.FeedGap](s, topicGaps), order); diff != "" {
		t.Error(diff)
	}
	if letters := s.read(deadletters.Topic); len(letters) != 0 {
		t.Errorf("%d dead letters", len(letters))
	}
	s.checkEnvelopes()
	for name, want := range map[string]float64{
		"frames_total": 4, "trades_total": 1, "orderbook_events_total": 2, "gaps_total": 3, "ignored_frames_total": 1,
		"unknown_frames_total": 1, "connection_events_total": 2, "dead_letters_total": 0, "blocked_batches_total": 0,
	} {
		if got := p.count(t, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

// checkEnvelopes holds what every record of the parser's has: its key, the frame's timestamp, the header producer.
func (s *stack) checkEnvelopes() {
	s.t.Helper()
	times := map[string]int64{}
	for _, f := range s.read(topicFrames) {
		times[fmt.Sprint(f.Partition, f.Offset)] = f.TimestampMs
	}
	for _, topic := range []string{topicTrades, topicBooks, topicGaps, deadletters.Topic} {
		for _, r := range s.read(topic) {
			key, at := "", records.Coordinates{}
			var err error
			switch body := s.body(r); topic {
			case topicTrades:
				var v records.Trade
				err = v.DecodeAvro(body)
				key, at = v.Symbol, v.Frame
			case topicBooks:
				var v records.Orderbook
				err = v.DecodeAvro(body)
				key, at = v.Instrument.Symbol, v.Frame
			case topicGaps:
				var v records.FeedGap
				err = v.DecodeAvro(body)
				key, at = v.Venue+"/"+v.Symbol, v.Frame
			default:
				var v records.DeadLetter
				err = v.DecodeAvro(body)
				key, at = v.KafkaKey(), records.Coordinates{Partition: v.Partition, Offset: v.Offset}
			}
			if err != nil || string(r.Key) != key {
				s.t.Errorf("%s: key %q, want %q; %v", topic, r.Key, key, err)
			}
			if want := times[fmt.Sprint(at.Partition, at.Offset)]; r.TimestampMs != want {
				s.t.Errorf("%s: timestamp %d, its frame's is %d", topic, r.TimestampMs, want)
			}
			if len(r.Headers) != 1 || r.Headers[0].Name != "producer" || string(r.Headers[0].Value) != "parser@test" {
				s.t.Errorf("%s: headers %v", topic, r.Headers)
			}
		}
	}
}

// TestWhatIsBadIsDivertedAlone sends bad values among good ones: the good are produced, the bad are kept whole.
func TestWhatIsBadIsDivertedAlone(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	const key = "kraken/kraken-0"
	trades := func(quantity string) []byte {
		one := `{"symbol":"BTC/USD","side":"buy","price":84000.1,"qty":%s,"ord_type":"limit","trade_id":%d,"timestamp":"2025-04-15T09:02:11.123456Z"}`
		return s.value(frame("kraken", `{"channel":"trade","type":"update","data":[`+
			fmt.Sprintf(one, "0.1", 1)+","+fmt.Sprintf(one, quantity, 2)+","+fmt.Sprintf(one, "0.3", 3)+`]}`))
	}
	gapOf := func(payload string) []byte {
		f := frame("kraken", payload)
		f.Kind = records.FrameGap
		return s.value(f)
	}
	values := [][]byte{
		trades("0.2"),
		trades("1e60"), // item 1 does not fit a decimal
		s.value(frame("kraken", `{"channel":"tr`)), // cut short
		[]byte("no wire format"),
		append(s.value(frame("kraken", "{}")), 0),                                       // a byte left over
		gapOf(`not JSON`),                                                               //
		gapOf(`{"venue_symbols":[],"channel":"all"}`),                                   // nothing is missing
		gapOf(`{"venue_symbols":["BTC/USD","?"],"channel":"trades","reason":"RESYNC"}`), // item 1 is no symbol
		{},
		trades("0.4"),
	}
	for _, v := range values {
		s.send(key, v, at)
	}
	p := s.start(Config{DeadLetterRate: new(1.0)})
	s.drained()
	p.stop()

	var ids []string
	for _, trade := range readAs[records.Trade](s, topicTrades) {
		ids = append(ids, fmt.Sprintf("%d/%d:%s", trade.Frame.Offset, trade.Frame.Item, trade.TradeID))
	}
	if want := "0/0:1 0/1:2 0/2:3 1/0:1 1/2:3 9/0:1 9/1:2 9/2:3"; strings.Join(ids, " ") != want {
		t.Errorf("trades %v, want %s", ids, want)
	}
	got := map[string]string{}
	for _, letter := range readAs[records.DeadLetter](s, deadletters.Topic) {
		got[fmt.Sprintf("%d/%d", letter.Offset, letter.Item)] = letter.ErrorClass
		if string(letter.Value) != string(values[letter.Offset]) || string(letter.Key) != key || letter.TopicID != s.topicID() || letter.Group != "parser" || letter.Error == "" || letter.Topic != topicFrames || letter.RecordTime != at.UnixMicro() {
			t.Errorf("the letter of offset %d is not what was sent: %+v", letter.Offset, letter)
		}
	}
	want := map[string]string{
		"1/1": deadletters.BadItem, "2/-1": deadletters.BadFrame, "3/-1": deadletters.NotWireFormat, "4/-1": deadletters.BadValue,
		"5/-1": deadletters.BadFrame, "6/-1": deadletters.BadFrame, "7/1": deadletters.BadItem, "8/-1": deadletters.NotWireFormat,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if gaps := s.read(topicGaps); len(gaps) != 1 {
		t.Errorf("%d gaps", len(gaps))
	}
	s.checkEnvelopes()
}
