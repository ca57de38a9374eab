package avro_test

import (
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/avro/avrotest"
)

// checkRapid runs the property n times, whatever the flag of the test run says.
func checkRapid(t *testing.T, n int, property func(*rapid.T)) {
	t.Helper()
	f := flag.Lookup("rapid.checks")
	before := f.Value.String()
	if err := f.Value.Set(strconv.Itoa(n)); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Value.Set(before) }()
	rapid.Check(t, property)
}

// TestAgreesWithAvroJava compares acceptance, verdict, and each incompatibility's type, location and message.
func TestAgreesWithAvroJava(t *testing.T) {
	o := startOracle(t)
	checkRapid(t, pairs(t), func(rt *rapid.T) {
		reader, writer := avrotest.DrawPair(rt)
		comparePair(t, rt.Fatalf, o, reader, writer)
	})
}

func comparePair(t testing.TB, fail func(string, ...any), o *oracle, reader, writer string) {
	r, errReader := avro.Parse(reader, nil)
	w, errWriter := avro.Parse(writer, nil)
	want := o.ask(t, "compare", reader, writer)
	err := errors.Join(errReader, errWriter)
	if err != nil {
		if want.OK {
			fail("we refuse %s\nor %s:\n%v", reader, writer, err)
		}
		return
	}
	found, err := avro.Incompatibilities(r, w)
	if !want.OK {
		if err == nil || !strings.Contains(want.Error, "matches multiple fields") {
			fail("Java refuses: %s\nreader %s\nwriter %s", want.Error, reader, writer)
		}
		return
	}
	if err != nil {
		fail("we fail: %v\nreader %s\nwriter %s", err, reader, writer)
	}
	var got [][3]string
	for _, f := range found {
		got = append(got, [3]string{string(f.Type), f.Location, f.Message})
	}
	if fmt.Sprint(got) != fmt.Sprint(want.Found) {
		fail("reader %s\nwriter %s\n got %v\nwant %v", reader, writer, got, want.Found)
	}
}

// TestAcceptsAndWritesLikeAvroJava compares which schemas are accepted, and the text that a registry stores for them.
func TestAcceptsAndWritesLikeAvroJava(t *testing.T) {
	o := startOracle(t)
	checkRapid(t, pairs(t), func(rt *rapid.T) {
		text := avrotest.DrawText(rt, rapid.Bool().Draw(rt, "sloppy"))
		compareText(t, rt.Fatalf, o, text)
	})
}

func compareText(t testing.TB, fail func(string, ...any), o *oracle, text string) {
	want := o.ask(t, "parse", text)
	got, err := avro.Parse(text, nil)
	switch {
	case err != nil && want.OK:
		fail("we refuse %s: %v", text, err)
	case err == nil && !want.OK:
		fail("Java refuses %s: %s", text, want.Error)
	case err == nil && got.String() != want.Text:
		fail("%s\n got %s\nwant %s", text, got, want.Text)
	}
}

// TestSmallTypesExhaustively compares every pair of a list of small types.
func TestSmallTypesExhaustively(t *testing.T) {
	o := startOracle(t)
	small := smallTypes()
	for _, reader := range small {
		for _, writer := range small {
			comparePair(t, t.Errorf, o, reader, writer)
		}
	}
	t.Logf("%d pairs of %d types", len(small)*len(small), len(small))
}

func smallTypes() []string {
	all := []string{
		`"null"`, `"boolean"`, `"int"`, `"long"`, `"float"`, `"double"`, `"bytes"`, `"string"`,
		`{"type":"long","logicalType":"timestamp-millis"}`, `{"type":"long","logicalType":"timestamp-micros"}`,
		`{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}`, `{"type":"bytes","logicalType":"decimal","precision":4,"scale":3}`,
		`{"type":"enum","name":"E","symbols":["A"]}`, `{"type":"enum","name":"E","symbols":["A","B"]}`,
		`{"type":"enum","name":"E","symbols":["A"],"default":"A"}`, `{"type":"enum","name":"F","symbols":["A"],"aliases":["E"]}`,
		`{"type":"fixed","name":"X","size":4}`, `{"type":"fixed","name":"X","size":8}`, `{"type":"fixed","name":"n.X","size":4}`,
		`{"type":"fixed","name":"Y","size":4,"aliases":["X"]}`,
		`{"type":"record","name":"R","fields":[]}`, `{"type":"record","name":"n.R","fields":[]}`, `{"type":"record","name":"S","aliases":["R"],"fields":[]}`,
		`{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}`, `{"type":"record","name":"R","fields":[{"name":"a","type":"int","default":0}]}`,
		`{"type":"record","name":"R","fields":[{"name":"a","type":"long"}]}`, `{"type":"record","name":"R","fields":[{"name":"a","type":["null","int"]}]}`,
		`{"type":"record","name":"R","fields":[{"name":"a","type":["null","int"],"default":null}]}`,
		`{"type":"record","name":"R","fields":[{"name":"b","type":"int","aliases":["a"]}]}`,
		`{"type":"record","name":"R","fields":[{"name":"b","type":"int","aliases":["a"]},{"name":"a","type":"int"}]}`,
		`{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"enum","name":"E","symbols":["A"],"default":"A"}}]}`,
		`{"type":"record","name":"R","fields":[{"name":"next","type":["null","R"]},{"name":"a","type":"int"}]}`,
		`{"type":"record","name":"R","fields":[{"name":"next","type":["null","R"]},{"name":"a","type":"string"}]}`,
		`{"type":"record","name":"R","fields":[{"name":"next","type":"R"},{"name":"a","type":"string"}]}`,
		`{"type":"record","name":"R","fields":[{"name":"a","type":"Later"},{"name":"b","type":{"type":"fixed","name":"Later","size":4}}]}`,
	}
	simple := append([]string{}, all...)
	for _, s := range simple {
		all = append(all, `{"type":"array","items":`+s+`}`, `{"type":"map","values":`+s+`}`)
		if s != `"null"` {
			all = append(all, `["null",`+s+`]`)
		}
		all = append(all, `[`+s+`]`)
	}
	return append(all, `[]`, `["int","string"]`, `["string","int"]`, `["null","int","string"]`, `["long","bytes"]`)
}

// Cases that a generator rarely meets, each a habit of the Java library.
func TestOddSchemasLikeAvroJava(t *testing.T) {
	o := startOracle(t)
	for _, text := range []string{
		``, ` `, `"int" x`, `"int" // comment`, `/* c */ "int"`, `# "int"`, `nul`, `{"type":"int"`, `["int",]`, `{"type":"int",}`, `'int'`, `01`, `"in\u0074"`, `"\x"`, "\"a\tb\"",
		`{"type":"int","type":"long"}`, `{"type":"long","a":1,"b":2,"a":3}`, `[]`, `[[]]`, `{}`, `{"type":"union"}`, `{"type":"A"}`, `{"type":{"type":"int"}}`, `{"type":["int"]}`,
		`{"type":"record","name":"int","fields":[]}`, `{"type":"record","name":"n.int","fields":[]}`, `{"type":"record","name":"record","namespace":"n","fields":[{"name":"a","type":["null","n.record"]}]}`,
		`{"type":"record","name":"record","fields":[{"name":"a","type":["null",{"type":"record"}]}]}`,
		`{"type":"record","name":"a.b.C","namespace":"x","fields":[{"name":"f","type":["null","C"]}]}`, `{"type":"record","name":".C","namespace":"x","fields":[]}`, `{"type":"record","name":"C.","fields":[]}`,
		`{"type":"record","name":"C","namespace":"x..y","fields":[]}`, `{"type":"record","name":"C","namespace":"1x","fields":[]}`, `{"type":"record","name":"C","namespace":"x.","fields":[]}`, `{"type":"record","name":"C","namespace":".x","fields":[]}`,
		`{"type":"record","name":"Ü","fields":[{"name":"é","type":"int"}]}`, `{"type":"record","name":"𝒜","fields":[]}`, `{"type":"record","name":"A-B","fields":[]}`, `{"type":"record","name":"","fields":[]}`,
		`{"type":"record","name":"R","fields":[{"name":"a","type":"int","default":1.0}]}`, `{"type":"record","name":"R","fields":[{"name":"a","type":"int","default":2147483648}]}`,
		`{"type":"record","name":"R","fields":[{"name":"a","type":"long","default":9223372036854775808}]}`, `{"type":"record","name":"R","fields":[{"name":"a","type":"int","default":1e2}]}`,
		`{"type":"record","name":"R","fields":[{"name":"a","type":"double","default":"NaN"}]}`, `{"type":"record","name":"R","fields":[{"name":"a","type":"double","default":"-Infinity"}]}`,
		`{"type":"record","name":"R","fields":[{"name":"a","type":"double","default":"1e3"}]}`, `{"type":"record","name":"R","fields":[{"name":"a","type":"double","default":"1.5f"}]}`,
		`{"type":"record","name":"R","fields":[{"name":"a","type":"double","default":"x"}]}`, `{"type":"record","name":"R","fields":[{"name":"a","type":"double","default":"1_0"}]}`, `{"type":"record","name":"R","fields":[{"name":"a","type":"double","default":"inf"}]}`,
		`{"type":"record","name":"R","fields":[{"name":"a","type":"double","default":" 2 "}]}`, `{"type":"record","name":"R","fields":[{"name":"a","type":"double","default":"0x1p3"}]}`, `{"type":"record","name":"R","fields":[{"name":"a","type":"float","default":1e999}]}`,
		`{"type":"record","name":"R","fields":[{"name":"a","type":"double","default":12345678901234567890}]}`, `{"type":"record","name":"R","fields":[{"name":"a","type":"double","default":-0}]}`, `{"type":"record","name":"R","fields":[{"name":"a","type":"double","default":1.0E-5}]}`,
		`{"type":"record","name":"R","fields":[{"name":"a","type":["null","string"],"default":"x"}]}`, `{"type":"record","name":"R","fields":[{"name":"a","type":["string","null"],"default":null}]}`, `{"type":"record","name":"R","fields":[{"name":"a","type":["string","null"],"default":1}]}`,
		`{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"enum","name":"E","symbols":["A"]},"default":"B"}]}`, `{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"fixed","name":"E","size":2},"default":"toolong"}]}`,
		`{"type":"record","name":"R","fields":[{"name":"a","type":["null","R"],"default":null}]}`, `{"type":"record","name":"R","fields":[{"name":"a","type":"R","default":{}}]}`, `{"type":"record","name":"R","fields":[{"name":"a","type":["null","R"],"default":{}}]}`,
		`{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"array","items":"R"},"default":[]}]}`, `{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"array","items":"R"},"default":[{}]}]}`,
		`{"type":"record","name":"R","fields":[{"name":"a","type":"L"},{"name":"b","type":{"type":"record","name":"L","fields":[]}}]}`, `{"type":"record","name":"R","fields":[{"name":"a","type":"L","default":{}},{"name":"b","type":{"type":"record","name":"L","fields":[]}}]}`,
		`{"type":"record","name":"R","fields":[{"name":"a","type":"L","default":{}},{"name":"b","type":{"type":"record","name":"L","fields":[{"name":"x","type":"int"}]}}]}`, `{"type":"record","name":"R","fields":[{"name":"a","type":"L","default":"A"},{"name":"b","type":{"type":"enum","name":"L","symbols":["A"]}}]}`,
		`{"type":"record","name":"R","fields":[{"name":"a","type":"L","default":{}},{"name":"b","type":{"type":"record","name":"L","fields":[{"name":"r","type":["null","R"],"default":null}]}}]}`,
		`{"type":"record","name":"R","fields":[{"name":"a","type":["L","L"]},{"name":"b","type":{"type":"record","name":"L","fields":[]}}]}`, `{"type":"record","name":"R","namespace":"n","fields":[{"name":"a","type":"L"},{"name":"b","type":{"type":"record","name":"L","namespace":"","fields":[]}}]}`,
		`{"type":"record","name":"R","namespace":"n","fields":[{"name":"b","type":{"type":"record","name":"L","namespace":"","fields":[]}},{"name":"a","type":"L"}]}`,
		`{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"record","name":"R","fields":[]}}]}`, `{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"record","name":"R","fields":[{"name":"z","type":"int"}]}}]}`,
		`{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"record","name":"S","fields":[]}},{"name":"b","type":{"type":"record","name":"S","fields":[]}}]}`,
		`{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"enum","name":"E","symbols":["A"]}},{"name":"b","type":{"type":"enum","name":"E","symbols":["A"]}}]}`, `{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"enum","name":"E","symbols":["A"],"x":1}},{"name":"b","type":{"type":"enum","name":"E","symbols":["A"],"x":1}}]}`,
		`{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"fixed","name":"E","size":1}},{"name":"b","type":{"type":"fixed","name":"E","size":1,"doc":"d"}}]}`, `{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"fixed","name":"E","size":1}},{"name":"b","type":{"type":"fixed","name":"E","size":2}}]}`,
		`{"type":"record","name":"R","namespace":"n","aliases":["A",".B","m.C","A"],"fields":[]}`, `{"type":"enum","name":"R","namespace":"n","aliases":[".B"],"symbols":[]}`, `{"type":"record","name":"R","aliases":"A","fields":[]}`, `{"type":"record","name":"R","aliases":[1],"fields":[]}`, `{"type":"record","name":"R","aliases":["9"],"fields":[]}`,
		`{"type":"record","name":"R","fields":[{"name":"a","type":"int","aliases":["9 x"]}]}`, `{"type":"record","name":"R","fields":[{"name":"a","type":"int","order":"Ignore"}]}`, `{"type":"record","name":"R","fields":[{"name":"a","type":"int","order":"no"}]}`, `{"type":"record","name":"R","fields":[{"name":"a","type":"int","order":null}]}`,
		`{"type":"record","name":"R","fields":[{"name":"a"}]}`, `{"type":"record","name":"R","fields":[{"type":"int"}]}`, `{"type":"record","name":"R","fields":[7]}`, `{"type":"record","name":"R"}`, `{"type":"record","fields":[]}`,
		`{"type":"record","name":"R","fields":[{"name":"a","type":null}]}`, `{"type":"record","name":"R","fields":[{"name":"a","type":"null","default":null,"doc":null,"x":null}]}`, `{"type":"array"}`, `{"type":"map","values":null}`, `{"type":"array","items":"int","default":[]}`,
		`{"type":"string","avro.java.string":"String","z":1.10,"y":1e400,"x":123456789012345678901234567890}`, `{"type":"error","name":"Oops","fields":[]}`,
		`{"type":"bytes","logicalType":"decimal","precision":1000000000000}`, `{"type":"enum","name":"E","symbols":["A"],"default":"A","namespace":""}`, `{"type":"record","name":"R","doc":"tab\t\u0001\u2028é\u007f/","fields":[]}`,
		// Nothing is used before its definition, and still a default is judged a second time while its record is unfinished.
		`{"type":"record","name":"R","fields":[{"name":"a","type":[{"type":"record","name":"L","namespace":"n","fields":[{"name":"b","default":{"c":{}},"type":{"type":"record","name":"M","namespace":"","fields":[{"name":"c","type":{"type":"map","values":"n.L"}}]}}]},"M"]}]}`,
		`{"type":"record","name":"Outer","namespace":"n","fields":[{"name":"a","type":{"type":"record","name":"Inner","namespace":"m","fields":[{"name":"o","type":["null","n.Outer"]},{"name":"i","type":["null","Inner"]}]}}]}`,
	} {
		compareText(t, t.Errorf, o, text)
	}
}

// TestAgreesWithAvroJavaOnTangles compares pairs of another shape: few types that use each other everywhere, recursion,
// inherited namespaces, deep chains.
func TestAgreesWithAvroJavaOnTangles(t *testing.T) {
	o := startOracle(t)
	accepted, differed := 0, 0
	checkRapid(t, pairs(t), func(rt *rapid.T) {
		reader, writer := avrotest.DrawTangledPair(rt)
		comparePair(t, rt.Fatalf, o, reader, writer)
		compareText(t, rt.Fatalf, o, reader)
		r, errReader := avro.Parse(reader, nil)
		w, errWriter := avro.Parse(writer, nil)
		if errReader != nil || errWriter != nil {
			return
		}
		accepted++
		if found, err := avro.Incompatibilities(r, w); err != nil || len(found) > 0 {
			differed++
		}
	})
	if n := pairs(t); accepted < n/5 || differed < n/20 || accepted-differed < n/50 {
		t.Errorf("of %d pairs %d were accepted and %d of those incompatible: the generator has lost its point", n, accepted, differed)
	}
	t.Logf("%d accepted, %d of them incompatible", accepted, differed)
}
