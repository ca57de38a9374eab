package venuetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"unicode/utf16"

	"pgregory.net/rapid"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
)

// scramble writes a document anew: fields in another order, unknown ones between them, spaces and escapes anywhere.
func scramble(r *rapid.T, dst []byte, value any) []byte {
	space := func() { dst = append(dst, rapid.SampledFrom([]string{"", "", " ", "\n\t"}).Draw(r, "space")...) }
	space()
	switch v := value.(type) {
	case map[string]any:
		keys := make([]string, 0, len(v)+1)
		for key := range v {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		if rapid.Bool().Draw(r, "unknown field") {
			keys = append(keys, "zz unknown")
		}
		keys = rapid.Permutation(keys).Draw(r, "order")
		dst = append(dst, '{')
		for i, key := range keys {
			if i > 0 {
				dst = append(dst, ',')
			}
			space()
			dst = escape(r, dst, key)
			space()
			dst = append(dst, ':')
			if known, ok := v[key]; ok {
				dst = scramble(r, dst, known)
			} else {
				dst = append(dst, `{"a":[1,-2.5e3,null,true,"x\\\"\u00e9"],"data":{}}`...)
			}
		}
		dst = append(dst, '}')
	case []any:
		dst = append(dst, '[')
		for i := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = scramble(r, dst, v[i])
		}
		dst = append(dst, ']')
	case string:
		dst = escape(r, dst, v)
	case json.Number:
		dst = append(dst, v...)
	default:
		dst = fmt.Append(dst, v)
	}
	space()
	return dst
}

// escape writes a string, now and then with characters as \uXXXX.
func escape(r *rapid.T, dst []byte, text string) []byte {
	if rapid.IntRange(0, 3).Draw(r, "escape") > 0 {
		quoted, err := json.Marshal(text)
		if err != nil {
			r.Fatal(err)
		}
		return append(dst, quoted...)
	}
	dst = append(dst, '"')
	for _, c := range utf16.Encode([]rune(text)) {
		dst = fmt.Appendf(dst, `\u%04x`, c)
	}
	return append(dst, '"')
}

func disorder(t *testing.T, v Venue) {
	decoder := v.Adapter.NewDecoder()
	rapid.Check(t, func(r *rapid.T) {
		var ev venue.Events
		for _, want := range v.Draw(r) {
			d := json.NewDecoder(bytes.NewReader(want.Frame.Payload))
			d.UseNumber()
			var document any
			if err := d.Decode(&document); err != nil {
				r.Fatal(err)
			}
			frame := want.Frame
			frame.Payload = scramble(r, nil, document)
			ev.Reset()
			if err := decoder.Decode(frame, &ev); err != nil {
				r.Fatalf("%v: %s", err, frame.Payload)
			}
			if diff := compare(want, &ev); diff != "" {
				r.Fatalf("%s: %s", frame.Payload, diff)
			}
			checkInspection(r, v.Adapter.NewInspector(), Rendered{frame, want.Trades, want.Books})
		}
	})
}

func prefixes(t *testing.T, v Venue) {
	decoder, inspector := v.Adapter.NewDecoder(), v.Adapter.NewInspector()
	rapid.Check(t, func(r *rapid.T) {
		want := v.Draw(r)[0]
		frame := want.Frame
		var ev venue.Events
		var in venue.Inspection
		for n := range want.Frame.Payload {
			frame.Payload = want.Frame.Payload[:n]
			if err := decoder.Decode(frame, &ev); err == nil || held(&ev) > 0 {
				r.Fatalf("%v, %d items held: %s", err, held(&ev), frame.Payload)
			}
			inspector.Inspect(frame.Payload, &in)
		}
	})
}

func held(ev *venue.Events) int {
	return len(ev.Trades) + len(ev.Books) + len(ev.Bad) + len(ev.Levels)
}

func flips(t *testing.T, v Venue) {
	decoder, inspector := v.Adapter.NewDecoder(), v.Adapter.NewInspector()
	rapid.Check(t, func(r *rapid.T) {
		frame := v.Draw(r)[0].Frame
		payload := bytes.Clone(frame.Payload)
		for range rapid.IntRange(1, 4).Draw(r, "flips") {
			payload[rapid.IntRange(0, len(payload)-1).Draw(r, "at")] = rapid.SampledFrom([]byte("\"{}[],:0-e.\\ntx\x00\xff")).Draw(r, "to")
		}
		frame.Payload = payload
		Check(r, decoder, inspector, frame)
	})
}

// Failer is what Check needs of a test, a fuzz run or a property.
type Failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// Check holds any bytes against what must be true whatever they are.
func Check(t Failer, decoder venue.Decoder, inspector venue.Inspector, frame venue.Frame) {
	t.Helper()
	var in venue.Inspection
	inspector.Inspect(frame.Payload, &in)
	inspector.Continuity(&in)
	var ev venue.Events
	err := decoder.Decode(frame, &ev)
	if err == nil && !json.Valid(frame.Payload) && string(frame.Payload) != "pong" {
		t.Fatalf("this is not JSON, and was read: %q", frame.Payload)
	}
	if err != nil {
		if held(&ev) > 0 {
			t.Fatalf("%v, and yet %d items are held: %q", err, held(&ev), frame.Payload)
		}
		return
	}
	if held(&ev) == 0 && ev.Ignored == "" && ev.Unknown == "" {
		t.Fatalf("nothing was read and nothing said: %q", frame.Payload)
	}
	for i := range ev.Trades {
		trade := &ev.Trades[i]
		if trade.Instrument == nil || len(trade.ID) == 0 || trade.TakerSide == market.SideUnknown || trade.Price.Sign() < 0 || trade.Quantity.Sign() < 0 {
			t.Fatalf("an incomplete trade %+v: %q", trade, frame.Payload)
		}
	}
	for i := range ev.Books {
		b := &ev.Books[i]
		if b.Instrument == nil || b.Kind != market.BookSnapshot && b.Kind != market.BookUpdate || cap(b.Bids) != len(b.Bids) || cap(b.Asks) != len(b.Asks) {
			t.Fatalf("an incomplete book %+v: %q", b, frame.Payload)
		}
	}
	if len(ev.Unknown) > 64 {
		t.Fatalf("the kind's name is not bounded: %q", ev.Unknown)
	}
}

// Fuzz is the body of a venue's fuzz target; the seeds are rendered frames and the venue's other messages.
func Fuzz(f *testing.F, v Venue, others ...string) {
	for i := range 20 {
		for _, seed := range rapid.Custom(v.Draw).Example(i) {
			f.Add(seed.Frame.Payload, seed.Frame.Kind == venue.RESTSnapshot)
		}
	}
	for _, other := range others {
		f.Add([]byte(other), false)
	}
	decoder := v.Adapter.NewDecoder()
	f.Fuzz(func(t *testing.T, payload []byte, rest bool) {
		frame := venue.Frame{Payload: payload}
		if rest {
			instrument, err := v.Adapter.Instrument(v.Symbols[0])
			if err != nil {
				t.Fatal(err)
			}
			frame.Kind, frame.VenueSymbol = venue.RESTSnapshot, instrument.VenueSymbol
		}
		Check(t, decoder, v.Adapter.NewInspector(), frame)
	})
}

func inspect(t *testing.T, v Venue) {
	rapid.Check(t, func(r *rapid.T) {
		inspector := v.Adapter.NewInspector()
		for _, want := range v.Draw(r) {
			checkInspection(r, inspector, want)
		}
	})
}

func checkInspection(r *rapid.T, inspector venue.Inspector, want Rendered) {
	var in venue.Inspection
	inspector.Inspect(want.Frame.Payload, &in)
	channel, snapshot, symbol := venue.Trades, false, ""
	var last market.OptInt
	if len(want.Books) > 0 {
		b := &want.Books[0]
		channel, snapshot, symbol, last = venue.Book, b.Kind == market.BookSnapshot, b.Instrument.VenueSymbol, b.LastUpdateID
	} else {
		symbol = want.Trades[0].Instrument.VenueSymbol
	}
	if want.Frame.Kind == venue.RESTSnapshot {
		symbol = "" // the body names none
	}
	if in.Class != venue.Data || in.Channel != channel || in.Snapshot != snapshot || string(in.VenueSymbol) != symbol {
		r.Fatalf("inspected as %+v: %s", in, want.Frame.Payload)
	}
	if channel == venue.Book && in.LastID != last {
		r.Fatalf("inspected with id %v, decoded with %v: %s", in.LastID, last, want.Frame.Payload)
	}
	if first := string(fmt.Append(nil, in.FirstID.Value)); channel == venue.Trades && in.FirstID.Valid && first != string(want.Trades[0].ID) {
		r.Fatalf("inspected with first id %s, decoded with %s: %s", first, want.Trades[0].ID, want.Frame.Payload)
	}
	inspector.Continuity(&in)
}

func allocations(t *testing.T, v Venue) {
	decoder, inspector := v.Adapter.NewDecoder(), v.Adapter.NewInspector()
	var ev venue.Events
	var in venue.Inspection
	for i := range 10 {
		for _, one := range rapid.Custom(v.Draw).Example(i) {
			// Once to intern the instrument and to make the memory grow.
			if err := decoder.Decode(one.Frame, &ev); err != nil {
				t.Fatal(err)
			}
			inspector.Inspect(one.Frame.Payload, &in)
			inspector.Continuity(&in)
			ev.Reset()
			if n := testing.AllocsPerRun(10, func() {
				_ = decoder.Decode(one.Frame, &ev)
				ev.Reset()
			}); n != 0 {
				t.Errorf("decoding allocates %v times: %s", n, one.Frame.Payload)
			}
			if n := testing.AllocsPerRun(10, func() {
				inspector.Inspect(one.Frame.Payload, &in)
				inspector.Continuity(&in)
			}); n != 0 {
				t.Errorf("inspecting allocates %v times: %s", n, one.Frame.Payload)
			}
		}
	}
}

func symbols(t *testing.T, v Venue) {
	for _, symbol := range v.Symbols {
		instrument, err := v.Adapter.Instrument(symbol)
		if err != nil {
			t.Error(err)
			continue
		}
		if back, err := v.Adapter.FromVenue(instrument.VenueSymbol); err != nil || back != instrument || back.Symbol != symbol || back.Venue != v.Adapter.Name() {
			t.Errorf("%s is spelled %s, which is %+v, %v", symbol, instrument.VenueSymbol, back, err)
		}
	}
	for _, bad := range []string{"", "BTC", "BTC-USDT-SWAP", "BTC_USDT", "\"-USD", "A-\x00"} {
		if got, err := v.Adapter.Instrument(bad); err == nil {
			t.Errorf("the symbol %q passes as %+v", bad, got)
		}
	}
	for _, bad := range []string{"", "BTC", "btcusdt", "BTC_USDT", "\"-USD", "A-\x00", "/", "-"} {
		if got, err := v.Adapter.FromVenue(bad); err == nil {
			t.Errorf("the venue's symbol %q passes as %+v", bad, got)
		}
	}
}
