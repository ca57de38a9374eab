package replayproof_test

import (
	"bytes"
	"errors"
	"iter"
	"math/big"
	"strings"
	"testing"
	"time"

	twmb "github.com/twmb/avro"
	"pgregory.net/rapid"

	"github.com/streamforge/streamforge/services/internal/avro/avrotest"
	"github.com/streamforge/streamforge/services/internal/governance/replayproof"
)

// old is a version with what the proof has to follow: an alias's field, a unit, a scale, a nested record, a list, an
// optional value and an enum.
const old = `{"type": "record", "name": "Trade", "namespace": "test", "fields": [
  {"name": "venue", "type": "string"},
  {"name": "size", "type": "int"},
  {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 4}},
  {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
  {"name": "seen", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}], "default": null},
  {"name": "side", "type": {"type": "enum", "name": "Side", "symbols": ["UNKNOWN", "BUY", "SELL"], "default": "UNKNOWN"}},
  {"name": "frame", "type": {"type": "record", "name": "Frame", "fields": [{"name": "offset", "type": "long"}]}},
  {"name": "levels", "type": {"type": "array", "items": {"type": "record", "name": "Level", "fields": [{"name": "price", "type": "double"}]}}}
]}`

func changed(t interface{ Fatalf(string, ...any) }, from, to string) string {
	if strings.Count(old, from) != 1 {
		t.Fatalf("%q stands %d times in the schema", from, strings.Count(old, from))
	}
	return strings.Replace(old, from, to, 1)
}

// trade draws a record with no value that looks the same in every unit and scale, as zero does.
func trade(t *rapid.T) map[string]any {
	v := map[string]any{
		"venue": rapid.String().Draw(t, "venue"),
		"size":  rapid.Int32().Draw(t, "size"),
		"price": big.NewRat(rapid.Int64Range(1, 1<<40).Draw(t, "price"), 10_000),
		"at":    time.UnixMilli(rapid.Int64Range(1, 4e12).Draw(t, "at")).UTC(),
		"side":  rapid.SampledFrom([]string{"UNKNOWN", "BUY", "SELL"}).Draw(t, "side"),
		"frame": map[string]any{"offset": rapid.Int64().Draw(t, "offset")},
	}
	if rapid.Bool().Draw(t, "negative") {
		v["price"] = new(big.Rat).Neg(v["price"].(*big.Rat))
	}
	if rapid.Bool().Draw(t, "was seen") {
		v["seen"] = time.UnixMicro(rapid.Int64Range(1, 4e15).Draw(t, "seen")).UTC()
	}
	levels := []any{}
	for _, price := range rapid.SliceOfN(rapid.Float64(), 0, 3).Draw(t, "levels") {
		levels = append(levels, map[string]any{"price": price})
	}
	v["levels"] = levels
	return v
}

func bodies(t *rapid.T) [][]byte {
	codec, err := twmb.Parse(old)
	if err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	for range rapid.IntRange(1, 5).Draw(t, "records") {
		body, err := codec.AppendEncode(nil, trade(t))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, body)
	}
	return all
}

func replay(all [][]byte) iter.Seq2[replayproof.Record, error] {
	return func(yield func(replayproof.Record, error) bool) {
		for i, body := range all {
			if !yield(replayproof.Record{Partition: 3, Offset: int64(i), SchemaID: 1, Schema: old, Body: body}, nil) {
				return
			}
		}
	}
}

var momentum = replayproof.Reader{
	Group: "momentum", Owner: "data-science", Version: 1, Schema: old,
	Fields: []string{"venue", "price", "at", "frame.offset", "levels[].price"},
}

func prove(t interface {
	Helper()
	Fatalf(string, ...any)
}, schema string, all [][]byte,
) replayproof.Report {
	t.Helper()
	report, err := replayproof.Prove(replay(all), replayproof.Config{Topic: "trades", Schema: schema, Readers: []replayproof.Reader{momentum}, Sink: false})
	if err != nil {
		t.Fatalf("%v", err)
	}
	if report.Records != len(all) || report.Bad.Count != 0 {
		t.Fatalf("%d records became %+v", len(all), report)
	}
	return report
}

func field(o replayproof.Outcome, path string, kind replayproof.Kind) replayproof.Field {
	for _, f := range o.Fields {
		if f.Path == path && f.Kind == kind {
			return f
		}
	}
	return replayproof.Field{}
}

func TestAFieldWithADefaultNeverDiffers(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		added := rapid.SampledFrom([]string{
			`"type": ["null", "boolean"], "default": null`,
			`"type": "string", "default": "x"`,
			`"type": {"type": "array", "items": "int"}, "default": []`,
			`"type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}, "default": "\u0001"`,
			`"type": {"type": "long", "logicalType": "timestamp-micros"}, "default": 0`,
		}).Draw(t, "type")
		before := rapid.SampledFrom([]string{`{"name": "venue"`, `{"name": "at"`, `{"name": "offset"`, `{"name": "levels"`}).Draw(t, "before")
		all := bodies(t)
		report := prove(t, changed(t, before, `{"name": "added", `+added+`}, `+before), all)
		if report.ExitCode() != 0 || len(report.Readers[0].Fields) != 0 || report.Readers[0].Judged != len(all) {
			t.Fatalf("%+v", report)
		}
		// It is a note, of every record, and the only one.
		if len(report.Read.Fields) != 1 || report.Read.Fields[0].Kind != replayproof.Appears || report.Read.Fields[0].Records != len(all) {
			t.Fatalf("%+v", report.Read)
		}
	})
}

func TestAnotherUnitOrScaleIsAlwaysFound(t *testing.T) {
	t.Parallel()
	for path, c := range map[string]struct{ from, to string }{
		"at":    {"timestamp-millis", "timestamp-micros"},
		"price": {`"scale": 4`, `"scale": 6`},
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				all := bodies(t)
				report := prove(t, changed(t, c.from, c.to), all)
				read := field(report.Read, path, replayproof.Differs)
				declared := field(report.Readers[0].Outcome, path, replayproof.Differs)
				if report.ExitCode() != 3 || read.Records != len(all) || declared.Records != len(all) {
					t.Fatalf("%+v", report)
				}
				if len(report.Read.Fields) != 1 || len(report.Readers[0].Fields) != 1 {
					t.Fatalf("more than %s was found: %+v", path, report)
				}
				if len(read.Samples) != min(3, len(all)) || read.Samples[0].Partition != 3 || read.Samples[0].Before == read.Samples[0].After {
					t.Fatalf("%+v", read.Samples)
				}
			})
		})
	}
}

// TestValuesAreWrittenInTheNewUnit: the old reader of a moment written in micros sees a thousand times the millis, and of
// a price at scale 6 a hundred times the price.
func TestValuesAreWrittenInTheNewUnit(t *testing.T) {
	t.Parallel()
	codec, err := twmb.Parse(old)
	if err != nil {
		t.Fatal(err)
	}
	body, err := codec.AppendEncode(nil, map[string]any{
		"venue": "kraken", "size": int32(1), "price": big.NewRat(-15, 10), "at": time.UnixMilli(1000).UTC(), "seen": nil,
		"side": "BUY", "frame": map[string]any{"offset": int64(9)}, "levels": []any{},
	})
	if err != nil {
		t.Fatal(err)
	}
	report := prove(t, strings.ReplaceAll(changed(t, "timestamp-millis", "timestamp-micros"), `"scale": 4`, `"scale": 6`), [][]byte{body})
	for path, want := range map[string]replayproof.Sample{
		"at":    {Before: "1970-01-01T00:00:01Z", After: "1970-01-01T00:16:40Z"},
		"price": {Before: "-1.5", After: "-150"},
	} {
		want.Partition = 3
		if got := field(report.Readers[0].Outcome, path, replayproof.Differs).Samples; len(got) != 1 || got[0] != want {
			t.Errorf("the reader's %s: %+v, want %+v", path, got, want)
		}
	}
	// And the other way round, as it lies in the topic.
	if got := field(report.Read, "at", replayproof.Differs).Samples; got[0].After != "1970-01-01T00:00:00.001Z" {
		t.Errorf("%+v", got)
	}
	if got := field(report.Read, "price", replayproof.Differs).Samples; got[0].After != "-0.015" {
		t.Errorf("%+v", got)
	}
}

func TestARenameIsFound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		all := bodies(t)
		// Without an alias and without a default nothing can be read at all.
		report := prove(t, changed(t, `{"name": "venue"`, `{"name": "exchange"`), all)
		if report.ExitCode() != 3 || report.Read.Failed.Count != len(all) || report.Unwritable.Count != len(all) || report.Readers[0].Failed.Count != len(all) {
			t.Fatalf("%+v", report)
		}
		if !strings.Contains(report.Read.Failed.Samples[0].Reason, "exchange") || !strings.Contains(report.Readers[0].Failed.Samples[0].Reason, "venue") {
			t.Fatalf("%+v", report)
		}
		// With a default the rules are content, and the values are lost silently.
		report = prove(t, changed(t, `{"name": "venue", `, `{"name": "exchange", "default": "", `), all)
		gone := field(report.Read, "venue", replayproof.Vanishes)
		if report.ExitCode() != 3 || gone.Records != len(all) || gone.Suspect != "exchange" || report.Readers[0].Failed.Count != len(all) {
			t.Fatalf("%+v", report)
		}
		// With an alias the new reader finds everything; the old one still does not know the new name.
		report = prove(t, changed(t, `{"name": "venue", `, `{"name": "exchange", "aliases": ["venue"], `), all)
		if len(report.Read.Fields) != 0 || report.Read.Failed.Count != 0 || report.Readers[0].Failed.Count != len(all) {
			t.Fatalf("%+v", report)
		}
	})
}

// TestWhatIsTakenOutOnPurposeIsItsReadersMatter: a field that nobody reads may go, one that a declared reader then reads as
// its default may not.
func TestWhatIsTakenOutOnPurposeIsItsReadersMatter(t *testing.T) {
	t.Parallel()
	without := changed(t, `{"name": "seen", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}], "default": null},`, ``)
	codec, err := twmb.Parse(old)
	if err != nil {
		t.Fatal(err)
	}
	body, err := codec.AppendEncode(nil, map[string]any{
		"venue": "kraken", "size": int32(1), "price": big.NewRat(1, 1), "at": time.UnixMilli(1).UTC(), "seen": time.UnixMicro(7).UTC(),
		"side": "BUY", "frame": map[string]any{"offset": int64(9)}, "levels": []any{},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		fields []string
		waived map[string]string
		exit   int
	}{
		"nobody reads it":       {[]string{"price"}, nil, 0},
		"a declared reader":     {[]string{"price", "seen"}, nil, 3},
		"waived":                {[]string{"seen"}, map[string]string{"seen": "waivers/x.yaml"}, 0},
		"another one is waived": {[]string{"seen"}, map[string]string{"see": "waivers/x.yaml", "": "waivers/y.yaml"}, 3},
		"no such field":         {[]string{"nothing"}, nil, 1},
	} {
		reader := momentum
		reader.Fields = c.fields
		report, err := replayproof.Prove(replay([][]byte{body}), replayproof.Config{Topic: "trades", Schema: without, Readers: []replayproof.Reader{reader}, Waived: c.waived})
		if err != nil || report.ExitCode() != c.exit {
			t.Errorf("%s: exit %d, want %d: %+v, %v", name, report.ExitCode(), c.exit, report, err)
		}
		if field(report.Read, "seen", replayproof.Vanishes).Records != 1 {
			t.Errorf("%s: it vanishes: %+v", name, report.Read)
		}
	}
}

func TestPromotionsReadTheSame(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		to := rapid.SampledFrom([]string{"long", "double"}).Draw(t, "to")
		if report := prove(t, changed(t, `"size", "type": "int"`, `"size", "type": "`+to+`"`), bodies(t)); len(report.Read.Fields) != 0 || report.Read.Failed.Count != 0 {
			t.Fatalf("%+v", report)
		}
	})
}

// TestASymbolLessIsFoundInTheRecordsThatHaveIt: the rules let an enum with a default lose a symbol.
func TestASymbolLessIsFoundInTheRecordsThatHaveIt(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		all := bodies(t)
		sells := 0
		codec, err := twmb.Parse(old)
		if err != nil {
			t.Fatal(err)
		}
		for _, body := range all {
			var v map[string]any
			if _, err := codec.Decode(body, &v); err != nil {
				t.Fatal(err)
			}
			if v["side"] == "SELL" {
				sells++
			}
		}
		report := prove(t, changed(t, `"BUY", "SELL"`, `"BUY"`), all)
		if got := field(report.Read, "side", replayproof.Differs).Records; got != sells {
			t.Fatalf("%d records have the symbol, %d were found", sells, got)
		}
	})
}

func TestBadRecordsAreCountedAndNamed(t *testing.T) {
	t.Parallel()
	records := func(yield func(replayproof.Record, error) bool) {
		for i := range 5 {
			r := replayproof.Record{Partition: 1, Offset: int64(i), SchemaID: 4, Schema: old, Body: []byte{2}}
			switch i {
			case 0:
				r.Bad = "a tombstone"
			case 1:
				r.Schema = "{"
			}
			if !yield(r, nil) {
				return
			}
		}
	}
	report, err := replayproof.Prove(records, replayproof.Config{Topic: "trades", Schema: old})
	if err != nil || report.Bad.Count != 5 || len(report.Bad.Samples) != 3 || report.Bad.Samples[2].Offset != 2 || report.ExitCode() != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	broken := errors.New("the broker is gone")
	_, err = replayproof.Prove(func(yield func(replayproof.Record, error) bool) { yield(replayproof.Record{}, broken) }, replayproof.Config{Schema: old})
	if !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	if _, err := replayproof.Prove(records, replayproof.Config{Topic: "trades", Schema: "{"}); err == nil || !strings.Contains(err.Error(), "trades") {
		t.Errorf("%v", err)
	}
	// Nothing to judge by is no proof.
	if report, err := replayproof.Prove(replay(nil), replayproof.Config{Topic: "trades", Schema: old}); err != nil || report.ExitCode() != 1 {
		t.Errorf("%+v, %v", report, err)
	}
}

// TestTheReportForAPerson shows rows and readers as a terminal does.
func TestTheReportForAPerson(t *testing.T) {
	t.Parallel()
	codec, err := twmb.Parse(old)
	if err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	for i := range 5 {
		body, err := codec.AppendEncode(nil, map[string]any{
			"venue": "kraken", "size": int32(i), "price": big.NewRat(3, 2), "at": time.UnixMilli(1_790_000_000_000).UTC(), "seen": nil,
			"side": "BUY", "frame": map[string]any{"offset": int64(i)}, "levels": []any{},
		})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, body)
	}
	schema := strings.Replace(changed(t, "timestamp-millis", "timestamp-micros"), `{"name": "seen", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}], "default": null},`, "", 1)
	schema = strings.Replace(schema, `{"name": "size"`, `{"name": "flag", "type": "boolean", "default": false}, {"name": "size"`, 1)
	report, err := replayproof.Prove(replay(all), replayproof.Config{Topic: "trades", Schema: schema, Readers: []replayproof.Reader{momentum}, Sink: true})
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := report.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"replay of trades: 5 records: something fails or reads otherwise\n",
		"  at differs in 5 of 5\n    3/0: 2026-09-21T14:13:20Z → 1970-01-21T17:13:20Z\n",
		"  note: flag appears as its default in 5 of 5\n    3/0: false\n",
		"  momentum (data-science), version 1\n    at differs in 5 of 5\n",
		"  3/2:\n    flag: no column → false  (Bool)\n    at: 2026-09-21T14:13:20Z → 1970-01-21T17:13:20Z  (DateTime64(3, 'UTC') → DateTime64(6, 'UTC'), which a plan refuses: the rows need a new table)\n",
		"    seen: null → null, the column stays and nothing fills it",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is missing in\n%s", want, text.String())
		}
	}
	if strings.Contains(text.String(), "3/3") {
		t.Errorf("more than three samples:\n%s", text.String())
	}
}

// BenchmarkProve replays records on a changed unit, which takes every way there is: figures in the README.
func BenchmarkProve(b *testing.B) {
	codec, err := twmb.Parse(old)
	if err != nil {
		b.Fatal(err)
	}
	body, err := codec.AppendEncode(nil, map[string]any{
		"venue": "kraken", "size": int32(1), "price": big.NewRat(3, 2), "at": time.UnixMilli(1_790_000_000_000).UTC(), "seen": nil,
		"side": "BUY", "frame": map[string]any{"offset": int64(1)}, "levels": []any{},
	})
	if err != nil {
		b.Fatal(err)
	}
	records := func(yield func(replayproof.Record, error) bool) {
		for i := range b.N {
			if !yield(replayproof.Record{Offset: int64(i), SchemaID: 1, Schema: old, Body: body}, nil) {
				return
			}
		}
	}
	b.ReportAllocs()
	report, err := replayproof.Prove(records, replayproof.Config{Topic: "trades", Schema: changed(b, "timestamp-millis", "timestamp-micros"), Readers: []replayproof.Reader{momentum}, Sink: true})
	if err != nil || report.Records != b.N {
		b.Fatal(report, err)
	}
}

// TestAnySchemaAndAnyBody: the same schema never differs, whatever it is; a record is bad or judged, never both; and nothing
// that a schema or a body holds ends the program.
func TestAnySchemaAndAnyBody(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		next, written := avrotest.DrawPair(t)
		if rapid.Bool().Draw(t, "unchanged") {
			next = written
		}
		all := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 40), 1, 5).Draw(t, "bodies")
		records := func(yield func(replayproof.Record, error) bool) {
			for i, body := range all {
				if !yield(replayproof.Record{Offset: int64(i), SchemaID: 1, Schema: written, Body: body}, nil) {
					return
				}
			}
		}
		reader := replayproof.Reader{Group: "any", Version: 1, Schema: written}
		report, err := replayproof.Prove(records, replayproof.Config{Topic: "any", Schema: next, Readers: []replayproof.Reader{reader}, Sink: true})
		if err != nil {
			t.Skipf("the library does not take the schema: %v", err)
		}
		judged := report.Records - report.Bad.Count
		if report.Records != len(all) || report.Read.Failed.Count > judged || report.Readers[0].Judged+report.Readers[0].Failed.Count+report.Readers[0].Today.Count > judged {
			t.Fatalf("%+v", report)
		}
		if next == written && (len(report.Read.Fields) != 0 || report.Read.Failed.Count != 0 || report.Unwritable.Count != 0 || report.Readers[0].Judged != judged) {
			t.Fatalf("unchanged: %+v", report)
		}
	})
}
