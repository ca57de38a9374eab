package contract_test

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/contract/rule"
)

func subjects(t *testing.T) []schemas.Subject {
	t.Helper()
	all, err := schemas.All()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// with is the repository's contracts and one file more.
func with(t *testing.T, file, text string) fs.FS {
	t.Helper()
	return edited(t, file, "", text)
}

const aWaiver = `change: change-0123456789abcdef
rule: scale-changed
product: raw-trades
approver: market-data-oncall
reason: "The scale was wrong from the first day, and nobody reads the field yet."
expires: 2026-12-31
`

func TestAWaiverIsOneLineWhenItIsWrong(t *testing.T) {
	const file = "waivers/scale.yaml"
	for name, c := range map[string]struct{ from, to, want string }{
		"right":              {"", "", ""},
		"a rule of Avro's":   {"scale-changed", "TYPE_MISMATCH", `waiver scale: "TYPE_MISMATCH" is no rule that can be waived in contracts/waivers/scale.yaml:2; see the table`},
		"a rule of waivers":  {"scale-changed", "waiver-expired", "is no rule that can be waived"},
		"no hash":            {"change-0123456789abcdef", "sha", "change is \"sha\" in contracts/waivers/scale.yaml:1; it must match"},
		"no reason":          {"The scale was wrong from the first day, and nobody reads the field yet.", "ok", "reason"},
		"no day":             {"2026-12-31", "2026-13-31", `"2026-13-31" is no day in contracts/waivers/scale.yaml:6; write the last day`},
		"an unknown product": {"product: raw-trades", "product: raw-trade", "product raw-trade has no contract in contracts/waivers/scale.yaml:3"},
		"a shared type":      {"product: raw-trades", "product: streamforge.market.PriceLevel", ""},
		"a stranger":         {"market-data-oncall", "somebody", "somebody is not an owner of raw-trades in contracts/waivers/scale.yaml:4; ask one of market-data-oncall"},
		"expired":            {"2026-12-31", "2026-11-21", "it expired on 2026-11-21 in contracts/waivers/scale.yaml:6; remove the file"},
		"for ever":           {"2026-12-31", "2036-12-31", "2036-12-31 is more than 366 days away"},
		"a field too many":   {"rule:", "level: NONE\nrule:", "the file has no property level"},
	} {
		t.Run(name, func(t *testing.T) {
			err := contract.Lint(with(t, file, strings.Replace(aWaiver, c.from, c.to, 1)), subjects(t), contract.WithToday(time.Date(2026, 11, 22, 23, 0, 0, 0, time.UTC)))
			switch {
			case c.want == "" && err != nil:
				t.Errorf("the error is\n%v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("the error is\n%v\nwithout %q", err, c.want)
			}
		})
	}
	all := fstest.MapFS{"waivers/a.yaml": {Data: []byte(aWaiver)}, "waivers/b.yaml": {Data: []byte(aWaiver)}}
	if err := contract.Lint(all, nil); err == nil || !strings.Contains(err.Error(), "change-0123456789abcdef is waived by contracts/waivers/a.yaml already in contracts/waivers/b.yaml:1") {
		t.Errorf("one change waived twice: %v", err)
	}
}

func TestAWaiverHoldsThroughItsLastDay(t *testing.T) {
	w, problems := contract.ParseWaiver("waivers/scale.yaml", []byte(aWaiver))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if w.Expired(time.Date(2026, 12, 31, 23, 59, 0, 0, time.UTC)) || !w.Expired(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Error("a waiver holds through its last day in UTC, and no longer")
	}
	loaded, err := contract.LoadWaivers(fstest.MapFS{"waivers/scale.yaml": {Data: []byte(aWaiver)}})
	if err != nil || len(loaded) != 1 || loaded[0].Rule != rule.ScaleChanged || loaded[0].Product != "raw-trades" {
		t.Errorf("%+v %v", loaded, err)
	}
}

func TestFieldRulesAreRulesThatSomebodyCanKeep(t *testing.T) {
	price := "        physicalType: \"bytes.decimal(38,18)\"\n        required: true\n"
	ruled := price + "        # The least number of this type: a trade for nothing, or less, is a misread one.\n" +
		"        logicalTypeOptions: {minimum: 0.000000000000000001}\n        customProperties:\n          - {property: onViolation, value: divert}\n"
	for name, c := range map[string]struct{ more, want string }{
		"a range":                {"        logicalTypeOptions: {minimum: 0, maximum: 1000000}\n        customProperties: [{property: onViolation, value: divert}]\n", ""},
		"a rule of null alone":   {"        customProperties: [{property: onViolation, value: block}]\n", ""},
		"turned around":          {"        logicalTypeOptions: {minimum: 2, maximum: 1}\n", "field price: minimum 2 is above maximum 1"},
		"beyond the type":        {"        logicalTypeOptions: {maximum: 1.0e+21}\n", "field price: maximum 1e+21 is outside of what bytes.decimal(38,18) holds"},
		"too many digits":        {"        logicalTypeOptions: {maximum: 1234567890.1234567}\n", "field price has maximum 1.2345678901234567e+09 in contracts/market/raw-trades.yaml:78; write at most 15 digits"},
		"what nobody checks":     {"        logicalTypeOptions: {exclusiveMinimum: 0}\n", "field price has exclusiveMinimum, which no service checks"},
		"an unknown consequence": {"        customProperties: [{property: onViolation, value: drop}]\n", `onViolation is "drop"`},
	} {
		t.Run(name, func(t *testing.T) {
			expect(t, contract.Lint(edited(t, tradesPath, ruled, price+c.more), subjects(t)), c.want)
		})
	}
	optional := "        physicalType: long.timestamp-micros\n        required: false\n"
	expect(t, contract.Lint(edited(t, tradesPath, optional, optional+"        logicalTypeOptions: {minimum: 0}\n"), subjects(t)), "field event_time is a timestamp and has minimum or maximum")
	expect(t, contract.Lint(edited(t, tradesPath, optional, optional+"        customProperties: [{property: onViolation, value: block}]\n"), subjects(t)), "field event_time says onViolation: block and has no rule that could be violated")
	notNull := strings.Replace(optional, "false", "true", 1)
	expect(t, contract.Lint(edited(t, tradesPath, optional, notNull), subjects(t)), "write required: false, or add onViolation")
	expect(t, contract.Lint(edited(t, tradesPath, optional, notNull+"        customProperties: [{property: onViolation, value: count}]\n"), subjects(t)), "")
	whole := "            physicalType: int\n            required: true\n"
	expect(t, contract.Lint(edited(t, tradesPath, whole, whole+"            logicalTypeOptions: {minimum: 0.5}\n"), subjects(t)), "field partition is an integer and has minimum 0.5")
}

func expect(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("the error is\n%v\nnot %q", err, want)
	}
}

func TestAContractSetsSeveritiesOfRulesThatExist(t *testing.T) {
	own := func(value string) fs.FS {
		return edited(t, tradesPath, "slaProperties:", "customProperties:\n  - {property: severities, value: "+value+"}\nslaProperties:")
	}
	expect(t, contract.Lint(own("{doc-removed: breaking, enum-order-changed: note}"), subjects(t)), "")
	all, err := contract.Load(own("{doc-removed: breaking, enum-order-changed: note}"))
	if err != nil {
		t.Fatal(err)
	}
	trades, _ := contract.Find(all, "raw-trades")
	if trades.Severities.Of(rule.DocRemoved) != rule.Breaking || trades.Severities.Of(rule.EnumOrderChanged) != rule.Note || trades.Severities.Of(rule.KeyChanged) != rule.Breaking {
		t.Errorf("%v", trades.Severities)
	}
	expect(t, contract.Lint(own("{doc-remove: breaking}"), subjects(t)), `severities names "doc-remove", which is no rule that a contract can set in contracts/market/raw-trades.yaml:`)
	expect(t, contract.Lint(own("{doc-removed: fatal}"), subjects(t)), "the severity of doc-removed is fatal")
	expect(t, contract.Lint(own("{waiver-expired: note}"), subjects(t)), "no rule that a contract can set")
	expect(t, contract.Lint(own("[doc-removed]"), subjects(t)), "custom property severities is")
	expect(t, contract.Lint(edited(t, tradesPath, "slaProperties:", "customProperties:\n  - {property: severity, value: {}}\nslaProperties:"), subjects(t)), "custom property severity means nothing here")
}

func TestThePartitionerOfASymbolsTopic(t *testing.T) {
	const key = "      - {property: messageKey, value: symbol}\n"
	expect(t, contract.Lint(edited(t, tradesPath, key, key+"      - {property: partitioner, value: murmur2}\n"), subjects(t)), "")
	expect(t, contract.Lint(edited(t, tradesPath, key, key+"      - {property: partitioner, value: crc32}\n"), subjects(t)), "the partitioner crc32 with the key symbol")
	expect(t, contract.Lint(edited(t, tradesPath, key, key+"      - {property: partitioner, value: sticky}\n"), subjects(t)), `partitioner is "sticky"`)
}

// TestWhatNoTableCanHoldIsRefusedByTheLint: what a running writer would stumble over is a line of the lint.
func TestWhatNoTableCanHoldIsRefusedByTheLint(t *testing.T) {
	all := subjects(t)
	if err := contract.Lint(contracts.FS, all, contract.WithSink(ddl.Mappable)); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(s schemas.Subject) bool { return s.Name == "raw-trades-value" })
	all[i].Text = strings.Replace(all[i].Text, `{"name": "trade_id"`, `{"name": "either", "doc": "E.", "type": ["int", "string"], "default": 0}, {"name": "_offset", "doc": "O.", "type": "long", "default": 0}, {"name": "trade_id"`, 1)
	const before = "      - name: trade_id\n"
	more := "      - {name: either, description: E., logicalType: object, physicalType: \"union(int,string)\", required: true}\n" +
		"      - {name: _offset, description: O., logicalType: integer, physicalType: long, required: true}\n"
	fsys := edited(t, tradesPath, before, more+before)
	if err := contract.Lint(fsys, all); err != nil {
		t.Fatal(err)
	}
	var problems contract.Problems
	if err := contract.Lint(fsys, all, contract.WithSink(ddl.Mappable)); !errors.As(err, &problems) || len(problems) != 2 {
		t.Fatalf("%v", err)
	}
	if !strings.Contains(problems[0].Error(), "ClickHouse cannot hold it: field either: a union of 2 types has no column") || !strings.Contains(problems[1].Error(), "field _offset: the name belongs to a column that the writer adds") {
		t.Errorf("%v", problems)
	}
}

// nestedFields are a contract's words for a map of records, an array of arrays and a record within itself.
const nestedFields = `      - name: labels
        description: L.
        logicalType: object
        physicalType: "map(record(streamforge.market.Label))"
        required: true
        properties:
          - {name: text, description: T., logicalType: string, physicalType: string, required: false}
      - name: matrix
        description: M.
        logicalType: array
        physicalType: array
        required: true
        items:
          logicalType: array
          physicalType: array
          items: {logicalType: integer, physicalType: long, required: false}
      - name: tree
        description: T.
        logicalType: object
        physicalType: record(Tree)
        required: true
        properties:
          - name: children
            description: C.
            logicalType: array
            physicalType: array
            required: true
            items: {logicalType: object, physicalType: record(Tree)}
`

// TestEveryNestedThingAgrees: what stands in maps, in arrays of arrays and in items that may be null is compared too, and a
// record within itself is listed once.
func TestEveryNestedThingAgrees(t *testing.T) {
	all := subjects(t)
	i := slices.IndexFunc(all, func(s schemas.Subject) bool { return s.Name == "raw-trades-value" })
	all[i].Text = strings.Replace(all[i].Text, `{"name": "trade_id"`, `
		{"name": "labels", "doc": "L.", "type": {"type": "map", "values": {"type": "record", "name": "Label", "fields": [{"name": "text", "doc": "T.", "type": ["null", "string"], "default": null}]}}},
		{"name": "matrix", "doc": "M.", "type": {"type": "array", "items": {"type": "array", "items": ["null", "long"]}}},
		{"name": "tree", "doc": "T.", "type": {"type": "record", "name": "Tree", "fields": [{"name": "children", "doc": "C.", "type": {"type": "array", "items": "Tree"}}]}},
		{"name": "trade_id"`, 1)
	const before = "      - name: trade_id\n"
	lint := func(from, to string) error {
		return contract.Lint(edited(t, tradesPath, before, strings.Replace(nestedFields, from, to, 1)+before), all)
	}
	expect(t, lint("", ""), "")
	expect(t, lint("name: text", "name: txt"), "field labels{}.text of schemas/market/raw-trades.avsc is not listed")
	expect(t, lint("physicalType: string, required: false", "physicalType: string, required: true"), "field labels{}.text is required: true, in schemas/market/raw-trades.avsc it is nullable")
	expect(t, lint("physicalType: long, required: false", "physicalType: long"), "the items of matrix[] are required: true, in schemas/market/raw-trades.avsc they are nullable")
	expect(t, lint("physicalType: long", "physicalType: int"), "field matrix[][] has the physicalType int")
	expect(t, lint("          physicalType: array\n          items: {logicalType: integer, physicalType: long, required: false}\n", "          physicalType: array\n"), "field matrix[] is an array without items")
	expect(t, lint("physicalType: string, required: false}", "physicalType: string, required: false, items: {logicalType: string, physicalType: string}}"), "field labels{}.text has items, in schemas/market/raw-trades.avsc it is no array")
}

// TestAReaderIsComparedWithTheVersionThatItNames: a field that a later version lost is still there for a reader of the
// older one.
func TestAReaderIsComparedWithTheVersionThatItNames(t *testing.T) {
	v1 := `{"type":"record","name":"F","fields":[{"name":"old","type":"string"},{"name":"payload","type":"bytes"}]}`
	v2 := `{"type":"record","name":"F","fields":[{"name":"payload","type":"bytes"},{"name":"labels","type":{"type":"map","values":{"type":"record","name":"L","fields":[{"name":"text","type":"string"}]}}},{"name":"either","type":["null","int",{"type":"record","name":"n.T","fields":[{"name":"price","type":["null",{"type":"array","items":{"type":"record","name":"P","fields":[{"name":"q","type":"int"}]}}]}]}]}]}`
	var parsed []*avro.Schema
	for _, text := range []string{v1, v2} {
		s, err := avro.Parse(text, nil)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, s)
	}
	versions := contract.WithVersions(func(subject string) []*avro.Schema {
		if subject == "raw-frames-value" {
			return parsed
		}
		return nil // not known: the contract decides
	})
	reader := func(version, fields string) error {
		text := "group: model\nowner: data-science\nprincipal: User:model\nreads:\n  - product: raw-frames\n    schemaVersion: " + version + "\n    fields: [" + fields + "]\n"
		fsys := fstest.MapFS{}
		for _, name := range []string{"market/raw-frames.yaml", "platform/dead-letters.yaml"} {
			fsys[name] = &fstest.MapFile{Data: []byte(mustRead(t, name))}
		}
		fsys["consumers/model.yaml"] = &fstest.MapFile{Data: []byte(text)}
		var own []schemas.Subject
		for _, s := range subjects(t) {
			if s.Name == "raw-frames-value" || s.Name == "dead-letters-value" || !strings.HasSuffix(s.Name, "-value") {
				own = append(own, s)
			}
		}
		return contract.Lint(fsys, own, versions)
	}
	expect(t, reader("1", "old, payload"), "")
	expect(t, reader("2", "old, payload"), "consumer model: version 2 of raw-frames-value has no field old in contracts/consumers/model.yaml:7")
	expect(t, reader("3", "payload"), "version 3 of raw-frames-value does not exist in contracts/consumers/model.yaml:6; write a version from 1 to 2")
	expect(t, reader("2", `"labels{}.text", "either<T>.price[].q", "either<n.T>.price", "either<int>"`), "")
	expect(t, reader("2", `"labels[].text"`), "has no field labels[].text")
	expect(t, reader("2", `"either<string>"`), "has no field either<string>")
	expect(t, reader("2", `"either<T>.price[].q.more"`), "has no field either<T>.price[].q.more")
}

func TestPathsTouch(t *testing.T) {
	for _, c := range []struct {
		a, b    string
		touches bool
	}{
		{"frame", "frame.offset", true},
		{"frame.offset", "frame", true},
		{"frame.offset", "frame.item", false},
		{"bids[].price", "bids", true},
		{"bids[].price", "asks[].price", false},
		{"price", "price_scale", false},
		{"u<n.A>.x", "u<n.A>", true},
		{"u<A>.x", "u<B>.x", false},
		{"m{}.a", "m{}.a.b", true},
		{"m[][].a", "m[]", true},
		{"a", "a", true},
	} {
		if got := contract.Touches(c.a, c.b); got != c.touches {
			t.Errorf("%s and %s: %v", c.a, c.b, got)
		}
	}
}

func TestFieldAtNamesTheFirstWrongStep(t *testing.T) {
	s, err := avro.Parse(`{"type":"record","name":"R","namespace":"n","fields":[{"name":"a","type":{"type":"array","items":"R"}}]}`, nil)
	if err != nil {
		t.Fatal(err)
	}
	if at, err := contract.FieldAt(s, "a[].a[].a"); err != nil || at.Type != avro.Array {
		t.Errorf("%v %v", at, err)
	}
	if _, err := contract.FieldAt(s, "a[].b.c"); err == nil || !strings.Contains(err.Error(), "n.R has no b") {
		t.Errorf("%v", err)
	}
}
