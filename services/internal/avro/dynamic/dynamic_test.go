package dynamic_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/linkedin/goavro/v2"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/avro/dynamic"
	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/records"
)

func reader(t testing.TB, subject string) *dynamic.Reader {
	t.Helper()
	s, err := schemas.Get(subject)
	if err != nil {
		t.Fatal(err)
	}
	text, err := schemas.SelfContained(s)
	if err != nil {
		t.Fatal(err)
	}
	r, err := dynamic.NewReader(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func decimal(t testing.TB, text string) market.Decimal {
	t.Helper()
	d, _, err := market.ParseDecimal([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func book(t testing.TB) []byte {
	levels := []market.Level{{Price: decimal(t, "0.000000000000000001"), Quantity: decimal(t, "100")}, {Price: decimal(t, "-12345678901234567890.5"), Quantity: decimal(t, "0")}}
	return records.AppendBook(nil, &market.Book{
		Kind: market.BookUpdate, Instrument: &market.Instrument{Venue: "kraken", Symbol: "BTC-USD", VenueSymbol: "BTC/USD"},
		LastUpdateID: market.Some(7), PriceScale: 18, Bids: levels, EventTime: 1_700_000_000_123_456,
	}, 1_700_000_000_000_000, records.Coordinates{TopicID: [16]byte{1, 2}, Partition: 3, Offset: 4})
}

func TestABookIsReadExactlyAndInOrder(t *testing.T) {
	v, err := reader(t, "raw-orderbooks-value").Read(book(t))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"kind":"UPDATE","venue":"kraken","symbol":"BTC-USD","venue_symbol":"BTC/USD","first_update_id":null,"last_update_id":7,` +
		`"previous_update_id":null,"checksum":null,"depth":null,"price_scale":18,"quantity_scale":0,` +
		`"bids":[{"price":"0.000000000000000001","quantity":"100"},{"price":"-12345678901234567890.5","quantity":"0"}],"asks":[],"gap_reason":null,` +
		`"event_time":"2023-11-14T22:13:20.123456Z","received_at":"2023-11-14T22:13:20Z",` +
		`"frame":{"topic_id":"01020000-0000-0000-0000-000000000000","partition":3,"offset":4,"item":0}}`
	got := string(v.AppendJSON(nil))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !json.Valid([]byte(got)) {
		t.Error("no JSON")
	}
	line := string(v.AppendLine(nil, 200))
	for _, part := range []string{"kind=UPDATE venue=kraken ", "bids=[{price=0.000000000000000001 quantity=100} {", "asks=[] gap_reason=null", "frame={topic_id=01020000-"} {
		if !strings.Contains(line, part) {
			t.Errorf("%q is missing in %s", part, line)
		}
	}
	for path, want := range map[string]string{"symbol": "BTC-USD", "frame.offset": "4", "bids[].price": "0.000000000000000001 -12345678901234567890.5", "nothing": "", "symbol.x": "", "last_update_id": "7"} {
		var texts []string
		for _, found := range v.At(path) {
			texts = append(texts, found.Text)
		}
		if got := strings.Join(texts, " "); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestBytesAreShownAsTextWhereTheyAreText(t *testing.T) {
	frames := reader(t, "raw-frames-value")
	for payload, want := range map[string]string{`{"a":"b ü"}`: `{"a":"b ü"}`, "\x00\xff": "0x00ff"} {
		f := records.Frame{Kind: records.FrameData, Venue: "binance", Payload: []byte(payload)}
		v, err := frames.Read(f.AppendAvro(nil))
		if err != nil {
			t.Fatal(err)
		}
		if got := v.At("payload")[0].Text; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	f := records.Frame{Payload: []byte(strings.Repeat("ü", 300))}
	v, err := frames.Read(f.AppendAvro(nil))
	if err != nil {
		t.Fatal(err)
	}
	if line := string(v.AppendLine(nil, 101)); len(line) > 400 || !strings.HasSuffix(line, `ü…"`) {
		t.Errorf("a long text is not cut: %s", line)
	}
}

func TestEveryKindOfType(t *testing.T) {
	schema := `{"type":"record","name":"R","fields":[
		{"name":"u","type":["null","string","long",{"type":"record","name":"In","fields":[{"name":"x","type":"int"}]}]},
		{"name":"m","type":{"type":"map","values":"double"}},{"name":"b","type":"boolean"},{"name":"f","type":"float"},
		{"name":"d","type":{"type":"int","logicalType":"date"}},{"name":"t","type":{"type":"long","logicalType":"timestamp-millis"}},
		{"name":"fx","type":{"type":"fixed","name":"Fx","size":2}},{"name":"small","type":{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}},
		{"name":"next","type":["null","R"]}]}`
	plain := strings.NewReplacer(`{"type":"int","logicalType":"date"}`, `"int"`, `{"type":"long","logicalType":"timestamp-millis"}`, `"long"`, `,"logicalType":"decimal","precision":4,"scale":2`, "").Replace(schema)
	codec, err := goavro.NewCodec(plain)
	if err != nil {
		t.Fatal(err)
	}
	inner := map[string]any{
		"u": nil, "m": map[string]any{}, "b": false, "f": float32(0.25), "d": 1, "t": int64(1), "fx": []byte{1, 2}, "small": []byte{0xff}, "next": nil,
	}
	outer := map[string]any{
		"u": goavro.Union("In", map[string]any{"x": 5}), "m": map[string]any{"b": 2.5, "a": 1e300}, "b": true, "f": float32(-1), "d": 20000, "t": int64(1_700_000_000_123),
		"fx": []byte("hi"), "small": []byte{0x30, 0x39}, "next": goavro.Union("R", inner),
	}
	body, err := codec.BinaryFromNative(nil, outer)
	if err != nil {
		t.Fatal(err)
	}
	r, err := dynamic.NewReader(schema)
	if err != nil {
		t.Fatal(err)
	}
	v, err := r.Read(body)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"u":{"x":5},"m":{"a":1e+300,"b":2.5},"b":true,"f":-1,"d":"2024-10-04","t":"2023-11-14T22:13:20.123Z","fx":"hi","small":"123.45",` +
		`"next":{"u":null,"m":{},"b":false,"f":0.25,"d":"1970-01-02","t":"1970-01-01T00:00:00.001Z","fx":"0x0102","small":"-0.01","next":null}}`
	if diff := cmp.Diff(want, string(v.AppendJSON(nil))); diff != "" {
		t.Error(diff)
	}
	if fields := r.Fields(); len(fields) == 0 || fields[0] != "u" {
		t.Errorf("%q", fields)
	}
	for cut := range body {
		if _, err := r.Read(body[:cut]); err == nil {
			t.Errorf("a body cut to %d bytes is accepted", cut)
		}
	}
}

func FuzzRead(f *testing.F) {
	r := reader(f, "raw-orderbooks-value")
	f.Add(book(f))
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := r.Read(body)
		if err != nil {
			return
		}
		if !json.Valid(v.AppendJSON(nil)) {
			t.Fatalf("%x gives what is no JSON: %s", body, v.AppendJSON(nil))
		}
		v.AppendLine(nil, 20)
	})
}
