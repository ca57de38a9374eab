package avro_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/linkedin/goavro/v2"
	twmb "github.com/twmb/avro"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/avro"
)

func TestEqualSchemasNeedNoProjection(t *testing.T) {
	s, err := schemas.Get("raw-trades-value")
	if err != nil {
		t.Fatal(err)
	}
	text, err := schemas.SelfContained(s)
	if err != nil {
		t.Fatal(err)
	}
	documented := strings.Replace(text, `"doc":"`, `"doc":"Changed. `, 1)
	project, err := avro.NewProjection(documented, text)
	if err != nil {
		t.Fatal(err)
	}
	body := []byte("whatever")
	got, err := project(nil, body)
	if err != nil || &got[0] != &body[0] {
		t.Errorf("the body is copied: %v", err)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = project(nil, body) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestAnAmbiguousFieldIsAnError: the same schema needs no look at its fields, and any other pair gets an answer.
func TestAnAmbiguousFieldIsAnError(t *testing.T) {
	const text = `{"type": "record", "name": "C", "fields": [{"name": "b", "type": "int"}, {"name": "d", "type": "int", "aliases": ["b"]}]}`
	if _, err := avro.NewProjection(text, text); err != nil {
		t.Error(err)
	}
	var ambiguous *avro.AmbiguousFieldError
	if _, err := avro.NewProjection(strings.Replace(text, `"name": "C"`, `"name": "C", "doc": "Another text."`, 1), text); !errors.As(err, &ambiguous) || ambiguous.Field != "d" {
		t.Errorf("%v", err)
	}
}

func TestProjection(t *testing.T) {
	writer := `{"type":"record","name":"Trade","fields":[
		{"name":"gone","type":{"type":"map","values":"string"}},
		{"name":"id","type":"int"},
		{"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":38,"scale":18}},
		{"name":"side","type":{"type":"enum","name":"Side","symbols":["BUY","SELL","CROSS"]}},
		{"name":"at","type":["null",{"type":"long","logicalType":"timestamp-micros"}]},
		{"name":"note","type":["null","string","bytes","long"]},
		{"name":"key","type":{"type":"fixed","name":"Key","size":2}}]}`
	reader := `{"type":"record","name":"Trade","fields":[
		{"name":"identifier","type":"long","aliases":["id"]},
		{"name":"venue","type":"string","default":"binance"},
		{"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":38,"scale":18}},
		{"name":"side","type":{"type":"enum","name":"Side","symbols":["UNKNOWN","BUY","SELL"],"default":"UNKNOWN"}},
		{"name":"at","type":["null",{"type":"long","logicalType":"timestamp-micros"}],"default":null},
		{"name":"note","type":["null","bytes","string","long"],"default":null},
		{"name":"key","type":{"type":"fixed","name":"Key","size":2}}]}`
	project, err := avro.NewProjection(writer, reader)
	if err != nil {
		t.Fatal(err)
	}
	// goavro writes the body: a library that has no part in the projection.
	codec, err := goavro.NewCodec(stripLogical(writer))
	if err != nil {
		t.Fatal(err)
	}
	price := []byte{0x80, 0, 1}
	body, err := codec.BinaryFromNative(nil, map[string]any{
		"gone": map[string]any{"a": "b"}, "id": 7, "price": price, "side": "CROSS",
		"at": goavro.Union("long", int64(1700000000123456)), "note": goavro.Union("bytes", []byte{0xff}), "key": []byte{1, 2},
	})
	if err != nil {
		t.Fatal(err)
	}
	projected, err := project([]byte("kept"), body)
	if err != nil {
		t.Fatal(err)
	}
	projected, found := bytes.CutPrefix(projected, []byte("kept"))
	if !found {
		t.Fatal("dst is not kept")
	}
	back, err := goavro.NewCodec(stripLogical(reader))
	if err != nil {
		t.Fatal(err)
	}
	got, rest, err := back.NativeFromBinary(projected)
	if err != nil || len(rest) > 0 {
		t.Fatal(err, rest)
	}
	want := map[string]any{
		"identifier": int64(7), "venue": "binance", "price": price, "side": "UNKNOWN",
		"at": map[string]any{"long": int64(1700000000123456)}, "note": map[string]any{"bytes": []byte{0xff}}, "key": []byte{1, 2},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for cut := range body {
		if _, err := project(nil, body[:cut]); err == nil {
			t.Errorf("a body cut to %d bytes is accepted", cut)
		}
	}
	if _, err := project(nil, append(bytes.Clone(body), 0)); err == nil {
		t.Error("a body with a byte too many is accepted")
	}
}

func stripLogical(text string) string {
	return strings.NewReplacer(`,"logicalType":"decimal","precision":38,"scale":18`, "", `,"logicalType":"timestamp-micros"`, "").Replace(text)
}

func TestProjectionRefusesWhatWouldBeMisread(t *testing.T) {
	record := func(field string) string { return `{"type":"record","name":"R","fields":[` + field + `]}` }
	for _, c := range []struct{ name, writer, reader, want string }{
		{"unit", `{"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}}`, `{"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}}`, "at is timestamp-millis in the data and timestamp-micros for the reader"},
		{"scale", `{"name":"p","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}}`, `{"name":"p","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":3}}`, "scale 2"},
		{"inside a union", `{"name":"at","type":["null",{"type":"long","logicalType":"timestamp-millis"}]}`, `{"name":"at","type":["null",{"type":"long","logicalType":"timestamp-micros"}]}`, "misread"},
		{"no default", ``, `{"name":"new","type":["null","int"]}`, "READER_FIELD_MISSING_DEFAULT_VALUE"},
		{"type", `{"name":"a","type":"string"}`, `{"name":"a","type":"int"}`, "TYPE_MISMATCH"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := avro.NewProjection(record(c.writer), record(c.reader)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q in it", err, c.want)
			}
		})
	}
}

// The library that resolves for us judges compatibility too: where it is known to be right, both must agree.
func TestAgreesWithTwmbOnSmallTypes(t *testing.T) {
	disagreed := 0
	for _, reader := range smallTypes()[:20] {
		for _, writer := range smallTypes()[:20] {
			r, errR := twmb.Parse(reader)
			w, errW := twmb.Parse(writer)
			if errR != nil || errW != nil || strings.Contains(reader+writer, "decimal") {
				continue // it refuses another precision or scale, which Avro's own rules allow
			}
			if strings.Contains(writer, "n.X") && strings.Contains(reader, "aliases") {
				continue // it lets an alias stand for the name in any namespace; Avro's rules want the full name
			}
			theirs := twmb.CheckCompatibility(w, r) == nil
			if ours := avro.CanRead(reader, writer) == nil; ours != theirs {
				disagreed++
				t.Logf("reader %s writer %s: ours %v, theirs %v", reader, writer, ours, theirs)
			}
		}
	}
	if disagreed > 0 {
		t.Errorf("%d disagreements", disagreed)
	}
}

func BenchmarkProjection(b *testing.B) {
	writer := `{"type":"record","name":"R","fields":[{"name":"a","type":"long"},{"name":"b","type":"string"}]}`
	reader := `{"type":"record","name":"R","fields":[{"name":"b","type":"string"},{"name":"c","type":"int","default":0}]}`
	project, err := avro.NewProjection(writer, reader)
	if err != nil {
		b.Fatal(err)
	}
	body := []byte{2, 6, 'a', 'b', 'c'}
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		if dst, err = project(dst[:0], body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkIncompatibilities(b *testing.B) {
	s, err := schemas.Get("raw-orderbooks-value")
	if err != nil {
		b.Fatal(err)
	}
	text, err := schemas.SelfContained(s)
	if err != nil {
		b.Fatal(err)
	}
	one, other := mustParse(b, text), mustParse(b, text)
	b.ReportAllocs()
	for b.Loop() {
		if found, err := avro.Incompatibilities(one, other); err != nil || len(found) > 0 {
			b.Fatal(found, err)
		}
	}
}
