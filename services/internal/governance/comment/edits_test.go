package comment_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/governance/check"
	"github.com/streamforge/streamforge/services/internal/governance/comment"
	"github.com/streamforge/streamforge/services/internal/governance/history/historytest"
)

// swap is a text in a file that becomes another; an empty from raises the version of a contract.
type swap struct{ file, from, to string }

// typicalEdit is a line of the table in CONTRIBUTING.
type typicalEdit struct {
	what string
	// subject that the verdicts are of.
	subject string
	// earlier are commits on main before the edit, each a version of its own.
	earlier [][]swap
	edit    []swap
}

const (
	tradesSchema, tradesContract = "schemas/market/raw-trades.avsc", "contracts/market/raw-trades.yaml"
	booksSchema, booksContract   = "schemas/market/raw-orderbooks.avsc", "contracts/market/raw-orderbooks.yaml"
	framesSchema, framesContract = "schemas/market/raw-frames.avsc", "contracts/market/raw-frames.yaml"
	levelSchema                  = "schemas/market/PriceLevel.avsc"

	ofTrades, ofBooks, ofFrames = "raw-trades-value", "raw-orderbooks-value", "raw-frames-value"

	decimal = `{"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 18}`
	micros  = `{"type": "long", "logicalType": "timestamp-micros"}`
	// eventTime is where fields are added in raw-trades: before it.
	eventTime = `    {"name": "event_time"`
	price     = `{"name": "price", "doc": "Price in the quote currency, exact.", "type": ` + decimal + `},`
	quantity  = `{"name": "quantity", "doc": "Quantity in the base currency (contracts where the venue trades in contracts), exact.", "type": ` + decimal + `},`
)

// next raises a contract's minor version, as every change of a schema has to.
func next(contract string) swap { return swap{file: contract} }

var minorVersion = regexp.MustCompile(`(?m)^(version: \d+\.)(\d+)\.\d+$`)

// in makes the swap in a file's text, which must hold what is to go exactly once.
func (s swap) in(text string) (string, error) {
	if s.from == "" {
		m := minorVersion.FindStringSubmatch(text)
		if m == nil {
			return "", fmt.Errorf("%s has no version", s.file)
		}
		minor, err := strconv.Atoi(m[2])
		return strings.Replace(text, m[0], fmt.Sprintf("%s%d.0", m[1], minor+1), 1), err
	}
	if n := strings.Count(text, s.from); n != 1 {
		return "", fmt.Errorf("%s holds %q %d times and not once; tell typicalEdits what it holds now", s.file, s.from, n)
	}
	return strings.Replace(text, s.from, s.to, 1), nil
}

// add puts a field into raw-trades.
func add(field string) swap { return swap{tradesSchema, eventTime, "    " + field + ",\n" + eventTime} }

func trade(from, to string) []swap {
	return []swap{{tradesSchema, from, to}, next(tradesContract)}
}

const feeField = `{"name": "fee_rate", "doc": "The taker's fee, a share of the price.", "type": "double", "default": 0}`

func typicalEdits() []typicalEdit {
	feeAdded := [][]swap{{add(feeField), next(tradesContract)}}
	fee := func(to string) []swap {
		return []swap{{tradesSchema, `"type": "double", "default": 0}`, to}, next(tradesContract)}
	}
	return []typicalEdit{
		{"add a field with a default", ofTrades, nil, []swap{add(feeField), next(tradesContract)}},
		{"add a field without a default", ofTrades, nil, []swap{add(strings.Replace(feeField, `, "default": 0`, "", 1)), next(tradesContract)}},
		{"remove a field without a default: `quantity`", ofTrades, nil, trade("    "+quantity+"\n", "")},
		{"remove a field with a default: `event_time`", ofTrades, nil, trade(eventTime+`, "doc": "The venue's time of the trade, UTC; null where the venue sends none.", "type": ["null", `+micros+`], "default": null},`+"\n", "")},
		{"rename a field: `price` → `trade_price`", ofTrades, nil, trade(`"name": "price"`, `"name": "trade_price"`)},
		{"rename it and keep the old name as an alias", ofTrades, nil, trade(`"name": "price"`, `"name": "trade_price", "aliases": ["price"]`)},
		{"widen: `price_scale` int → long", ofBooks, nil, []swap{{booksSchema, `"Digits after the point of the prices as sent.", "type": "int"`, `"Digits after the point of the prices as sent.", "type": "long"`}, next(booksContract)}},
		{"narrow: `sequence` long → int", ofFrames, nil, []swap{{framesSchema, `"Position within feed and epoch, from 0, without holes.", "type": "long"`, `"Position within feed and epoch, from 0, without holes.", "type": "int"`}, next(framesContract)}},
		{"another type: `trade_id` string → long", ofTrades, nil, trade(`unique within venue and symbol.", "type": "string"`, `unique within venue and symbol.", "type": "long"`)},
		{"the same bytes as another type: `trade_id` string → bytes", ofTrades, nil, trade(`unique within venue and symbol.", "type": "string"`, `unique within venue and symbol.", "type": "bytes"`)},
		{"another unit: `received_at` micros → millis", ofTrades, nil, trade(`received the frame, UTC.", "type": `+micros, `received the frame, UTC.", "type": `+strings.Replace(micros, "micros", "millis", 1))},
		{"another scale: `price` 18 → 8 digits", ofTrades, nil, trade(price, strings.Replace(price, `"scale": 18`, `"scale": 8`, 1))},
		{"let a field be null: `quantity`", ofTrades, nil, trade(quantity, strings.Replace(strings.Replace(quantity, decimal, `["null", `+decimal+"]", 1), "},", `, "default": null},`, 1))},
		{"let a field no longer be null: `event_time`", ofTrades, nil, trade(`"type": ["null", `+micros+`], "default": null}`, `"type": `+micros+"}")},
		{"add an enum symbol at the end: `AUCTION`", ofTrades, nil, trade(`["UNKNOWN", "BUY", "SELL"]`, `["UNKNOWN", "BUY", "SELL", "AUCTION"]`)},
		{"remove an enum symbol: `SELL`", ofTrades, nil, trade(`["UNKNOWN", "BUY", "SELL"]`, `["UNKNOWN", "BUY"]`)},
		{"enum symbols in another order", ofTrades, nil, trade(`["UNKNOWN", "BUY", "SELL"]`, `["UNKNOWN", "SELL", "BUY"]`)},
		{"add a type to a union: `event_time` may be text", ofTrades, nil, trade(`["null", `+micros+`]`, `["null", `+micros+`, "string"]`)},
		{"nest: `price` and `quantity` into a record `level`", ofTrades, nil, trade("    "+price+"\n    "+quantity+"\n", `    {"name": "level", "doc": "Price and quantity.", "type": "streamforge.market.PriceLevel"},`+"\n")},
		{"a shared type gains a field with a default: `PriceLevel`", ofBooks, nil, []swap{
			{levelSchema, `0 removes the level.", "type": ` + decimal + `}`, `0 removes the level.", "type": ` + decimal + `},
    {"name": "orders", "doc": "How many orders rest there; null where the venue does not say.", "type": ["null", "int"], "default": null}`}, next(booksContract),
		}},
		{"another namespace", ofTrades, nil, trade(`"namespace": "streamforge.market"`, `"namespace": "streamforge.trading"`)},
		{"remove a field's documentation", ofTrades, nil, trade(`"doc": "Price in the quote currency, exact.", `, "")},
		{"another message key: `symbol` → `venue/symbol`", ofTrades, nil, []swap{{tradesContract, "{property: messageKey, value: symbol}", "{property: messageKey, value: venue/symbol}"}}},
		{"change a default that an earlier version brought: `fee_rate` 0 → 0.001", ofTrades, feeAdded, fee(`"type": "double", "default": 0.001}`)},
		{"take away a default that an earlier version brought", ofTrades, feeAdded, fee(`"type": "double"}`)},
	}
}

var levels = []struct {
	level avro.Level
	head  string
}{
	{avro.LevelNone, "NONE"},
	{avro.LevelBackward, "B"},
	{avro.LevelBackwardTransitive, "B_T"},
	{avro.LevelForward, "F"},
	{avro.LevelForwardTransitive, "F_T"},
	{avro.LevelFull, "FULL"},
	{avro.LevelFullTransitive, "FULL_T"},
}

// judgedEdit is what came of an edit.
type judgedEdit struct {
	passes   []bool // by level
	findings []check.Finding
	sql      []string
}

// judgeEdit makes the edit in a repository with this one's schemas and contracts and asks the check; the verdicts of the
// levels that the contract does not have come from the same rules.
func judgeEdit(t *testing.T, e typicalEdit) judgedEdit {
	t.Helper()
	r := historytest.New(t)
	for _, folder := range []string{"schemas", "contracts"} {
		if err := os.CopyFS(filepath.Join(r.Dir, folder), os.DirFS(filepath.Join("../../../..", folder))); err != nil {
			t.Fatal(err)
		}
	}
	r.Commit(nil)
	versions := []avro.Version{{Number: 1, Schema: schemaIn(t, r, e.subject)}}
	for i, swaps := range e.earlier {
		apply(t, r, e.what, swaps)
		r.Commit(nil)
		versions = append(versions, avro.Version{Number: i + 2, Schema: schemaIn(t, r, e.subject)})
	}
	apply(t, r, e.what, e.edit)
	report, err := check.Run(t.Context(), check.Options{Dir: r.Dir, Today: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Fatalf("%s: %v", e.what, err)
	}
	var j judgedEdit
	candidate := schemaIn(t, r, e.subject)
	for _, l := range levels {
		j.passes = append(j.passes, len(l.level.CheckAll(candidate, versions)) == 0)
	}
	refused := false
	for _, s := range report.Subjects {
		for _, f := range s.Findings {
			if !slices.ContainsFunc(j.findings, func(known check.Finding) bool { return known.Reason == f.Reason }) {
				j.findings = append(j.findings, f)
			}
			refused = refused || s.Name == e.subject && f.Layer == check.Confluent
		}
		j.sql = append(j.sql, s.SQL...)
	}
	if last := len(levels) - 1; j.passes[last] == refused {
		t.Errorf("%s: the check refuses it: %t, the rules of %s let it pass: %t", e.what, refused, levels[last].level, j.passes[last])
	}
	return j
}

func apply(t *testing.T, r *historytest.Repository, what string, swaps []swap) {
	t.Helper()
	for _, s := range swaps {
		text, err := os.ReadFile(filepath.Join(r.Dir, s.file))
		if err != nil {
			t.Fatal(err)
		}
		swapped, err := s.in(string(text))
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		r.Write(map[string]string{s.file: swapped})
	}
}

// schemaIn is a subject's schema in the working tree, with the shared types that it names.
func schemaIn(t *testing.T, r *historytest.Repository, subject string) *avro.Schema {
	t.Helper()
	all, err := schemas.Load(os.DirFS(filepath.Join(r.Dir, "schemas")))
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, s := range all {
		texts[s.Name] = s.Text
	}
	text, err := schemas.Inline(texts[subject], func(name string) (string, bool) { shared, ok := texts[name]; return shared, ok })
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := avro.Parse(text, nil)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

var severityMarks = map[check.Severity]string{check.Breaking: "✗", check.Warning: "⚠", check.Note: "ℹ"}

// renderEdits writes the section: the verdicts, then what is said and the SQL under the same numbers.
func renderEdits(edits []typicalEdit, judged []judgedEdit) string {
	var b strings.Builder
	b.WriteString("| | edit |")
	for _, l := range levels {
		b.WriteString(" " + l.head + " |")
	}
	b.WriteString(" this check adds |\n|---|---|" + strings.Repeat("---|", len(levels)+1) + "\n")
	for i, e := range edits {
		fmt.Fprintf(&b, "| %d | %s |", i+1, e.what)
		for _, passes := range judged[i].passes {
			b.WriteString(map[bool]string{true: " ✓ |", false: " ✗ |"}[passes])
		}
		var adds []string
		for _, f := range judged[i].findings {
			if f.Layer == check.Semantic && f.Severity != check.Note {
				adds = append(adds, severityMarks[f.Severity]+" `"+f.Rule+"`")
			}
		}
		fmt.Fprintf(&b, " %s |\n", orDash(strings.Join(slices.Compact(adds), ", ")))
	}
	b.WriteString("\nWhat it says at FULL_TRANSITIVE, and what ClickHouse is told:\n\n| | message | SQL |\n|---|---|---|\n")
	for i := range edits {
		var says []string
		for _, f := range judged[i].findings {
			line := severityMarks[f.Severity] + " " + comment.ReasonOf(f, 400)
			if f.Layer == check.Confluent {
				line += " " + comment.Cell(f.Rule, 80)
			}
			says = append(says, line)
		}
		var sql []string
		for _, s := range judged[i].sql {
			sql = append(sql, comment.Cell(s, 400))
		}
		fmt.Fprintf(&b, "| %d | %s | %s |\n", i+1, orDash(strings.Join(says, "<br>")), orDash(strings.Join(sql, "<br>")))
	}
	return b.String()
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

const (
	editsBegin = "<!-- edits: written by `go test ./services/internal/governance/comment -run TestEdits -update` -->\n"
	editsEnd   = "<!-- /edits -->"
)

// The table in CONTRIBUTING is what the check says today.
func TestEdits(t *testing.T) {
	edits := typicalEdits()
	if len(edits) != 25 {
		t.Errorf("%d edits, the table is of 25", len(edits))
	}
	judged := make([]judgedEdit, len(edits))
	t.Run("edit", func(t *testing.T) {
		for i, e := range edits {
			t.Run(e.what, func(t *testing.T) {
				t.Parallel()
				judged[i] = judgeEdit(t, e)
			})
		}
	})
	if t.Failed() {
		return
	}
	const file = "../../../../CONTRIBUTING.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(text), editsBegin)
	have, after, ends := strings.Cut(rest, editsEnd)
	if !begins || !ends {
		t.Fatalf("%s lacks %q or %q", file, editsBegin, editsEnd)
	}
	want := renderEdits(edits, judged)
	if have == want {
		return
	}
	if !*update {
		t.Fatalf("the table in CONTRIBUTING.md is stale; write it with -update. It would say\n%s", want)
	}
	if err := os.WriteFile(file, []byte(before+editsBegin+want+editsEnd+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
