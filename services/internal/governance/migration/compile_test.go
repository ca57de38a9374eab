package migration_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/governance/migration"
	"github.com/streamforge/streamforge/services/internal/governance/migration/migrationtest"
)

func record(fields string) string {
	return `{"type":"record","name":"R","fields":[` + fields + `]}`
}

// TestWhatIsNotAccountedForIsNamed: every fault is one line with the field's path and the rule to write.
func TestWhatIsNotAccountedForIsNamed(t *testing.T) {
	const decimal18, decimal8 = `{"type":"bytes","logicalType":"decimal","precision":38,"scale":18}`, `{"type":"bytes","logicalType":"decimal","precision":38,"scale":8}`
	for name, c := range map[string]struct{ rules, from, to, want string }{
		"a field that goes": {
			"[]", `{"name":"a","type":"int"},{"name":"b","type":"int"}`, `{"name":"a","type":"int"}`,
			"field b of trades is not accounted for; say rename: {from: b, to: …} or drop: {field: b, down: …}",
		},
		"a field that comes": {
			"[]", `{"name":"a","type":"int"}`, `{"name":"a","type":"int"},{"name":"b","type":"int"}`,
			"field b of trades.v2 gets no value; say rename: {from: …, to: b} or default: {field: b, up: …}",
		},
		"a field that comes with a default": {"[]", `{"name":"a","type":"int"}`, `{"name":"a","type":"int"},{"name":"b","type":"int","default":1}`, ""},
		"a field that cannot be given back": {
			"[{drop: {field: b}}]", `{"name":"a","type":"int"},{"name":"b","type":"int"}`, `{"name":"a","type":"int"}`,
			"field b of trades cannot be given back: its schema has no default; say drop: {field: b, down: …}",
		},
		"a field that its schema gives back": {"[{drop: {field: b}}]", `{"name":"a","type":"int"},{"name":"b","type":"int","default":7}`, `{"name":"a","type":"int"}`, ""},
		"another scale": {
			"[]", `{"name":"p","type":` + decimal18 + `}`, `{"name":"p","type":` + decimal8 + `}`,
			"field p is bytes decimal(38,18) in trades and bytes decimal(38,8) in trades.v2; say rescale: {field: p}",
		},
		"another unit inside a list": {
			"[]", `{"name":"l","type":{"type":"array","items":{"type":"record","name":"I","fields":[{"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}}]}}}`,
			`{"name":"l","type":{"type":"array","items":{"type":"record","name":"I","fields":[{"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}}]}}}`,
			`field l[].at is long timestamp-millis in trades and long timestamp-micros in trades.v2; say rescale: {field: "l[].at"}`,
		},
		"a unit that the types do not say": {
			"[{rescale: {field: a}}]", `{"name":"a","type":"long"}`, `{"name":"a","type":{"type":"long","logicalType":"timestamp-millis"}}`,
			"rescale of a from long to long timestamp-millis; say by: how many of the later's units one of the earlier's is",
		},
		"a unit that the types say otherwise": {
			"[{rescale: {field: a, by: 10}}]", `{"name":"a","type":{"type":"long","logicalType":"timestamp-millis"}}`, `{"name":"a","type":{"type":"long","logicalType":"timestamp-micros"}}`,
			"rescale of a from long timestamp-millis to long timestamp-micros; their types say by how much; leave by out",
		},
		"by nothing": {`[{rescale: {field: a, by: "0"}}]`, `{"name":"a","type":"long"}`, `{"name":"a","type":"long"}`, `by "0" is not a number above 0`},
		"another type": {
			"[]", `{"name":"a","type":"string"}`, `{"name":"a","type":"long"}`,
			"field a is string in trades and long in trades.v2; no rule turns one into the other: say drop: {field: a} and default: {field: a}, or choose another type",
		},
		"another type, said so": {`[{drop: {field: a, down: ""}}, {default: {field: a, up: 0}}]`, `{"name":"a","type":"string"}`, `{"name":"a","type":"long"}`, ""},
		"no null any more": {
			"[]", `{"name":"a","type":["null","long"]}`, `{"name":"a","type":"long"}`,
			"field a may be null in trades and not in trades.v2; say default: {field: a, up: …}",
		},
		"null from now on": {
			"[]", `{"name":"a","type":"long"}`, `{"name":"a","type":["null","long"]}`,
			"field a may be null in trades.v2 and not in trades; say default: {field: a, down: …}",
		},
		"null from now on, with a default in v1": {"[]", `{"name":"a","type":"long","default":5}`, `{"name":"a","type":["null","long"]}`, ""},
		"a type less in a union": {
			"[]", `{"name":"a","type":["int","string","boolean"]}`, `{"name":"a","type":["int","string"]}`,
			"field a may be boolean in trades and not in trades.v2; no rule turns one type into another: say drop: {field: a} and default: {field: a}, or keep the type",
		},
		"a symbol that goes": {
			"[]", `{"name":"s","type":{"type":"enum","name":"E","symbols":["A","B"]}}`, `{"name":"s","type":{"type":"enum","name":"E","symbols":["A"]}}`,
			"symbol B of s in trades has no counterpart in trades.v2, and the enum there has no default; say rename: {from: s.…, to: s.…} or default: {field: s.B, up: …}",
		},
		"a symbol that goes to another": {"[{default: {field: s.B, up: A}}]", `{"name":"s","type":{"type":"enum","name":"E","symbols":["A","B"]}}`, `{"name":"s","type":{"type":"enum","name":"E","symbols":["A"]}}`, ""},
		"a symbol that there is not": {
			"[{default: {field: s.B, up: C}}]", `{"name":"s","type":{"type":"enum","name":"E","symbols":["A","B"]}}`, `{"name":"s","type":{"type":"enum","name":"E","symbols":["A"]}}`,
			"C is no symbol of s in trades.v2; it has A",
		},
		"a rule for nothing": {
			"[{drop: {field: x}}]", `{"name":"a","type":"int"}`, `{"name":"a","type":"int"}`,
			"the rule applies to nothing; look at the paths: those of rename's from and of drop are trades's, all others trades.v2's",
		},
		"a rename to nowhere": {
			"[{rename: {from: a, to: b.c}}]", `{"name":"a","type":"int"}`, `{"name":"a","type":"int","default":1}`,
			"rename to b.c: the record of trades.v2 has no such field; a field is renamed within its record",
		},
		"two for one": {
			"[{rename: {from: a, to: c}}, {rename: {from: b, to: c}}]", `{"name":"a","type":"int"},{"name":"b","type":"int"}`, `{"name":"c","type":"int"}`,
			"fields a and b of trades would both become c; drop one of them",
		},
		"a default of another type":      {"[{default: {field: b, up: x}}]", `{"name":"a","type":"int"}`, `{"name":"a","type":"int"},{"name":"b","type":"int"}`, `"x" is no value of type int`},
		"a decimal that was rounded":     {"[{default: {field: b, up: 0.1}}]", `{"name":"a","type":"int"}`, `{"name":"a","type":"int"},{"name":"b","type":` + decimal8 + `}`, "write it as text"},
		"a decimal with too many digits": {`[{default: {field: b, up: "0.123456789"}}]`, `{"name":"a","type":"int"}`, `{"name":"a","type":"int"},{"name":"b","type":` + decimal8 + `}`, "more than 8 digits after the point"},
	} {
		_, err := compileRules("  "+c.rules+"\n", record(c.from), record(c.to))
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got\n%v\nwant\n%s", name, err, c.want)
		}
	}
}

// TestAValueThatDoesNotFitIsTheRecordsError: never rounded, never cut.
func TestAValueThatDoesNotFitIsTheRecordsError(t *testing.T) {
	const from = `{"name":"p","type":{"type":"bytes","logicalType":"decimal","precision":10,"scale":4}},{"name":"n","type":"long"},{"name":"d","type":"double"}`
	const to = `{"name":"p","type":{"type":"fixed","name":"F","size":2,"logicalType":"decimal","precision":4,"scale":2}},{"name":"n","type":"int"},{"name":"d","type":"float"}`
	m := compile(t, "[{rescale: {field: p}}, {rescale: {field: n, by: 1/10}}, {rescale: {field: d}}]\n", record(from), record(to))
	for name, c := range map[string]struct{ body, want string }{
		"fits":             {"0403e8" + "c801" + "000000000000f03f", ""},
		"a digit too many": {"0403e9" + "c801" + "000000000000f03f", "field p: 0.1001 does not fit fixed F decimal(4,2) without rounding"},
		"too large":        {"060f4240" + "c801" + "000000000000f03f", "field p: 100.0000 is too large for fixed F decimal(4,2)"},
		"not a tenth":      {"0403e8" + "c601" + "000000000000f03f", "field n: 99 does not fit int without rounding"},
		"no int":           {"0403e8" + "80b09dc2df01" + "000000000000f03f", "is too large for int"},
		"no float":         {"0403e8" + "c801" + "9a9999999999b93f", "field d: 0.1 does not fit a float without rounding"},
		"cut short":        {"0403e8" + "c801" + "000000", "field d: the body ends too early"},
		"too long":         {"0403e8" + "c801" + "000000000000f03f" + "00", "1 bytes too many"},
	} {
		out, err := m.Up([]byte("kept"), unhex(t, c.body))
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", name, err, c.want)
		case err != nil && string(out) != "kept":
			t.Errorf("%s: %q was left behind", name, out)
		}
	}
}

func TestJudgeSaysWhichRule(t *testing.T) {
	_, err := compileRules("[{drop: {field: a, down: 1}}, {drop: {field: b}}]\n", record(`{"name":"a","type":"int"},{"name":"b","type":"int"}`), record(`{"name":"c","type":"int","default":1}`))
	faults, ok := err.(migration.Faults)
	if !ok || len(faults) != 1 || faults[0].Rule != 1 {
		t.Fatal(err)
	}
}

// TestATypeThatContainsItself is mapped the same at every depth.
func TestATypeThatContainsItself(t *testing.T) {
	tree := func(name, value string) string {
		return `{"type":"record","name":"` + name + `","fields":[{"name":"` + value + `","type":"long"},{"name":"next","type":["null","` + name + `"]}]}`
	}
	m := compile(t, "[{rename: {from: a, to: b}}]\n", tree("One", "a"), tree("Two", "b"))
	body := unhex(t, "02"+"02"+"04"+"02"+"06"+"00")
	up, err := m.Up(nil, body)
	if err != nil || cmp.Diff(body, up) != "" {
		t.Fatalf("%x, %v", up, err)
	}
	if _, err := m.Up(nil, []byte(strings.Repeat("\x02\x02", 1000))); err == nil || !strings.Contains(err.Error(), "nested deeper") {
		t.Error(err)
	}
}

// FuzzBodies: whatever comes in, an error comes out or a body that goes down again; never a panic.
func FuzzBodies(f *testing.F) {
	trades := compile(f, tradesRules, tradesV1, tradesV2)
	wide := compile(f, wideRules, wideV1, wideV2)
	f.Add(unhex(f, "06425443"+"10"+"14d1120d7b160000"+"10"+"1bc16d674ec80000"+"02"+"0202"+"0a"+"026e"))
	f.Add([]byte("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, m := range []*migration.Mapping{trades, wide} {
			if up, err := m.Up(nil, body); err == nil {
				if _, err := m.Down(nil, up); err != nil {
					t.Fatalf("%x went up to %x and not down: %v", body, up, err)
				}
			}
			if down, err := m.Down(nil, body); err == nil {
				_, _ = m.Up(nil, down)
			}
		}
	})
}

func BenchmarkUp(b *testing.B) {
	m := compile(b, tradesRules, tradesV1, tradesV2)
	body := unhex(b, "06425443"+"10"+"14d1120d7b160000"+"10"+"1bc16d674ec80000"+"02"+"0202"+"0a"+"026e")
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if dst, err = m.Up(dst[:0], body); err != nil {
			b.Fatal(err)
		}
	}
}

// TestLintNamesTheFieldAndTheLine: what a migration lacks is found with the contracts, at its line.
func TestLintNamesTheFieldAndTheLine(t *testing.T) {
	files := migrationtest.TradesV2(t)
	lint := func() error {
		fsys, subjects := migrationtest.Tree(t, files)
		return contract.Lint(fsys, subjects, contract.WithMigrations(migration.Judge))
	}
	if err := lint(); err != nil {
		t.Fatal(err)
	}
	for from, c := range map[string]struct{ to, want string }{
		`  - default: {field: fee, up: "0"}` + "\n": {"", "migration raw-trades.v2: field fee of raw-trades.v2 gets no value in contracts/market/raw-trades.v2.migration.yaml:4; say rename"},
		`{field: venue_symbol, down: ""}`:           {`{field: venue_symbol}`, "field venue_symbol of raw-trades cannot be given back: its schema has no default in contracts/market/raw-trades.v2.migration.yaml:7; say"},
		`{field: price}`:                            {`{field: price, by: 3}` + "\njoinAt: {topicId: 6f1c0ff2-0d6f-4a0c-9ba8-0123456789ab, offsets: [1]}", "1 offsets, raw-trades has 64 partitions in contracts/market/raw-trades.v2.migration.yaml:"},
	} {
		kept := files[migrationtest.Migration]
		files[migrationtest.Migration] = strings.Replace(kept, from, c.to, 1)
		if strings.HasPrefix(c.to, "{field: price") { // joinAt ends the list of rules
			files[migrationtest.Migration] = files[migrationtest.Migration][:strings.Index(files[migrationtest.Migration], "  - drop")]
		}
		if err := lint(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s → %s: %v, want %s", from, c.to, err, c.want)
		}
		files[migrationtest.Migration] = kept
	}
}
