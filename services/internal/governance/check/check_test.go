package check_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/governance/check"
	"github.com/streamforge/streamforge/services/internal/governance/history/historytest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// ownRepository has this repository's own schemas and contracts in one commit.
func ownRepository(t *testing.T) *historytest.Repository {
	t.Helper()
	r := historytest.New(t)
	for _, folder := range []string{"schemas", "contracts"} {
		if err := os.CopyFS(filepath.Join(r.Dir, folder), os.DirFS(filepath.Join("..", "..", "..", "..", folder))); err != nil {
			t.Fatal(err)
		}
	}
	r.Commit(nil)
	return r
}

// edit replaces a text in a file, which must have it once.
func edit(t *testing.T, r *historytest.Repository, file, from, to string) {
	t.Helper()
	full := filepath.Join(r.Dir, file)
	text, err := os.ReadFile(full)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(text), from) != 1 {
		t.Fatalf("%s has %q %d times", file, from, strings.Count(string(text), from))
	}
	r.Write(map[string]string{file: strings.Replace(string(text), from, to, 1)})
}

func run(t *testing.T, r *historytest.Repository) check.Report {
	t.Helper()
	report, err := check.Run(t.Context(), check.Options{Dir: r.Dir, Today: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func subject(t *testing.T, r check.Report, name string) check.Subject {
	t.Helper()
	for _, s := range r.Subjects {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("the report has no subject %s: %+v", name, r.Subjects)
	return check.Subject{}
}

// stops lists the rules and paths of what stops a subject in one layer.
func stops(s check.Subject, layer check.Layer) []string {
	var all []string
	for _, f := range s.Findings {
		if f.Layer == layer && f.Stops() {
			all = append(all, strings.TrimSpace(f.Rule+" "+f.Path))
		}
	}
	return all
}

const (
	trades    = "schemas/market/raw-trades.avsc"
	books     = "schemas/market/raw-orderbooks.avsc"
	venueHead = `{"name": "venue", "doc": "The venue, for example binance or kraken.", "type": "string"}`
)

func TestNothingChanged(t *testing.T) {
	r := ownRepository(t)
	report := run(t, r)
	if report.Verdict() != check.Unchanged || report.ExitCode() != 0 || len(report.Subjects) != 0 || report.Same == 0 || len(report.Notes) != 0 {
		t.Errorf("%+v", report)
	}
	// Another spelling is no change either.
	edit(t, r, trades, `"namespace": "streamforge.market",`, "\n\n\"namespace\" :  \"streamforge.market\",")
	if report = run(t, r); report.Verdict() != check.Unchanged {
		t.Errorf("%+v", report)
	}
}

// TestTheUncommittedIsJudged: what counts is what lies in the working tree, be it committed, staged, or unknown to git.
func TestTheUncommittedIsJudged(t *testing.T) {
	r := ownRepository(t)
	edit(t, r, trades, `"name": "price"`, `"name": "cost"`)
	want := []string{
		"READER_FIELD_MISSING_DEFAULT_VALUE cost", "READER_FIELD_MISSING_DEFAULT_VALUE price",
	}
	judged := func(when string) {
		t.Helper()
		report := run(t, r)
		s := subject(t, report, "raw-trades-value")
		if diff := cmp.Diff(want, stops(s, check.Confluent)); diff != "" || report.ExitCode() != check.ExitIncompatible {
			t.Errorf("%s: %s", when, diff)
		}
	}
	judged("changed")
	r.Git("add", "-A")
	judged("staged")
	r.Git("checkout", "-q", "-b", "change")
	r.Git("commit", "-q", "-m", "rename")
	judged("committed on a branch")
	r.Git("checkout", "-q", "main")
	r.Write(map[string]string{"schemas/market/quotes.avsc": `{"type":"record","name":"Quote","fields":[]}`})
	if s := subject(t, run(t, r), "quotes-value"); s.Before != 0 || s.After != 1 || s.Verdict() == check.Incompatible {
		t.Errorf("a new subject, untracked: %+v", s)
	}
}

func TestARenameIsExplainedByName(t *testing.T) {
	r := ownRepository(t)
	edit(t, r, trades, `"name": "price"`, `"name": "trade_price"`)
	report := run(t, r)
	s := subject(t, report, "raw-trades-value")
	text := fmt.Sprintf("%+v", s.Findings)
	for _, want := range []string{"`price` is gone, it looks renamed to `trade_price`", "`trade_price` is new and has no default"} {
		if !strings.Contains(text, want) {
			t.Errorf("no finding says %q: %s", want, text)
		}
	}
	groups := map[string][]string{}
	for _, reader := range s.Readers {
		groups[reader.Group] = reader.Reads
	}
	if diff := cmp.Diff([]string{"price"}, groups["writer.raw-trades"]); diff != "" {
		t.Errorf("the writer reads price: %v", groups)
	}
	if len(s.Messages) == 0 || !strings.Contains(s.Messages[0], "READER_FIELD_MISSING_DEFAULT_VALUE") {
		t.Errorf("messages %q", s.Messages)
	}
	if len(s.SQL) == 0 || !strings.Contains(strings.Join(s.SQL, "\n"), "ADD COLUMN IF NOT EXISTS `trade_price`") {
		t.Errorf("SQL %q", s.SQL)
	}
	golden(t, "rename.txt", report)
}

// TestASuggestionIsCompatible does what the check suggests for a rename.
func TestASuggestionIsCompatible(t *testing.T) {
	r := ownRepository(t)
	edit(t, r, trades, `"name": "price"`, `"name": "trade_price"`)
	suggestion := subject(t, run(t, r), "raw-trades-value").Suggestion
	field, ok := strings.CutPrefix(suggestion, "keep `price` and add ")
	if !ok {
		t.Fatalf("suggestion %q", suggestion)
	}
	r.Git("checkout", "-q", "--", ".")
	edit(t, r, trades, venueHead, venueHead+","+field)
	if s := subject(t, run(t, r), "raw-trades-value"); len(stops(s, check.Confluent)) != 0 {
		t.Errorf("%+v", s.Findings)
	}
}

// TestABranchThatLagsBehind does not take back what main has done since, and is told where both have changed something.
func TestABranchThatLagsBehind(t *testing.T) {
	r := ownRepository(t)
	r.Git("checkout", "-q", "-b", "change")
	edit(t, r, books, venueHead, venueHead+`, {"name": "mine", "doc": "D.", "type": "int", "default": 0}`)
	r.Commit(nil)
	r.Git("checkout", "-q", "main")
	edit(t, r, trades, venueHead, venueHead+`, {"name": "theirs", "doc": "D.", "type": "int", "default": 0}`)
	r.Write(map[string]string{"schemas/market/quotes.avsc": `{"type":"record","name":"Quote","fields":[]}`, "contracts/market/quotes.yaml": contractText("quotes", "FULL")})
	r.Commit(nil)
	r.Git("checkout", "-q", "change")
	report := run(t, r)
	if len(report.Subjects) != 1 || report.Subjects[0].Name != "raw-orderbooks-value" || len(report.Notes) != 1 || !strings.Contains(report.Notes[0], "lacks commits of main") {
		t.Errorf("%+v", report)
	}
	edit(t, r, trades, venueHead, venueHead+`, {"name": "too", "doc": "D.", "type": "int", "default": 0}`)
	report = run(t, r)
	if s := subject(t, report, "raw-trades-value"); s.Before != 2 || s.After != 3 || len(report.Notes) != 2 || !strings.Contains(report.Notes[1], trades+" was changed here and on main") {
		t.Errorf("%+v", report)
	}
}

func TestAnAdditionPassesWithItsColumn(t *testing.T) {
	r := ownRepository(t)
	edit(t, r, trades, venueHead, venueHead+`,
    {"name": "fee", "doc": "What the taker paid, in the quote currency.", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 18}], "default": null}`)
	edit(t, r, "contracts/market/raw-trades.yaml", "version: 1.0.0", "version: 1.1.0")
	edit(t, r, "contracts/market/raw-trades.yaml", "      - name: symbol\n", `      - {name: fee, description: "What the taker paid, in the quote currency.", logicalType: number, physicalType: "bytes.decimal(38,18)", required: false}
      - name: symbol
`)
	report := run(t, r)
	s := subject(t, report, "raw-trades-value")
	if s.Verdict() != check.Compatible || report.ExitCode() != 0 || s.Before != 1 || s.After != 2 || len(report.Subjects) != 1 {
		t.Errorf("%+v", report)
	}
	golden(t, "addition.txt", report)
}

// TestASharedTypeIsCheckedForEveryReferrer: PriceLevel has a contract nowhere, and raw-orderbooks is made of it.
func TestASharedTypeIsCheckedForEveryReferrer(t *testing.T) {
	r := ownRepository(t)
	edit(t, r, "schemas/market/PriceLevel.avsc", `"name": "price"`, `"name": "cost"`)
	report := run(t, r)
	if got := report.Subjects[0]; got.Name != "streamforge.market.PriceLevel" || got.Level != contract.SharedTypeLevel || len(stops(got, check.Confluent)) != 2 {
		t.Errorf("the shared type stands first: %+v", got)
	}
	s := subject(t, report, "raw-orderbooks-value")
	want := []string{
		"READER_FIELD_MISSING_DEFAULT_VALUE bids[].cost", "READER_FIELD_MISSING_DEFAULT_VALUE bids[].price",
	}
	if diff := cmp.Diff(want, stops(s, check.Confluent)); diff != "" || s.Before != 1 || s.After != 2 {
		t.Errorf("%s %+v", diff, s)
	}
}

// TestTheCauseInsideAUnion: a registry only says that a branch is missing.
func TestTheCauseInsideAUnion(t *testing.T) {
	r := historytest.New(t)
	record := func(inner string) string {
		return `{"type":"record","name":"R","namespace":"n","fields":[{"name":"one","type":["null",{"type":"record","name":"In","fields":[` + inner + `]}]},` +
			`{"name":"many","type":{"type":"map","values":["null","string",{"type":"array","items":["null","In"]}]}}]}`
	}
	r.Commit(map[string]string{
		"contracts/m/p.yaml": contractText("p", "BACKWARD"), "schemas/m/p.avsc": record(`{"name":"a","type":"int"},{"name":"deep","type":["null",{"type":"enum","name":"E","symbols":["X","Y"]}]}`),
	})
	r.Write(map[string]string{"schemas/m/p.avsc": record(`{"name":"a","type":"string"},{"name":"b","type":"int"},{"name":"deep","type":["null",{"type":"enum","name":"E","symbols":["X"]}]}`)})
	s := subject(t, run(t, r), "p-value")
	var got []string
	for _, f := range s.Findings {
		if f.Layer == check.Confluent {
			got = append(got, f.Rule+" "+f.Cause+" "+f.Path)
		}
	}
	want := []string{
		"MISSING_UNION_BRANCH TYPE_MISMATCH one.a",
		"MISSING_UNION_BRANCH READER_FIELD_MISSING_DEFAULT_VALUE one.b",
		"MISSING_UNION_BRANCH MISSING_ENUM_SYMBOLS one.deep",
		"MISSING_UNION_BRANCH TYPE_MISMATCH many{}<array>[].a",
		"MISSING_UNION_BRANCH READER_FIELD_MISSING_DEFAULT_VALUE many{}<array>[].b",
		"MISSING_UNION_BRANCH MISSING_ENUM_SYMBOLS many{}<array>[].deep",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s", diff)
	}
}

func TestEveryVersionThatFailsIsNamed(t *testing.T) {
	r := historytest.New(t)
	r.Commit(map[string]string{"contracts/m/p.yaml": contractText("p", "BACKWARD_TRANSITIVE")})
	for _, kind := range []string{"string", "int", "long", "bytes"} {
		r.Commit(map[string]string{"schemas/m/p.avsc": `{"type":"record","name":"R","fields":[{"name":"a","type":"` + kind + `"}]}`})
	}
	r.Write(map[string]string{"schemas/m/p.avsc": `{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"b","type":"int"}]}`})
	s := subject(t, run(t, r), "p-value")
	versions := map[string][]int{}
	for _, f := range s.Findings {
		if f.Layer == check.Confluent {
			key := f.Path
			if f.Path == "a" {
				key = f.Reason[strings.LastIndex(f.Reason, " ")+1:]
			}
			versions[key] = f.Versions
		}
	}
	want := map[string][]int{"b": {4, 3, 2, 1}, "bytes": {4}, "long": {3}, "string": {1}}
	if diff := cmp.Diff(want, versions); diff != "" {
		t.Errorf("%s", diff)
	}
	if !strings.Contains(strings.Join(s.Messages, " "), "{oldSchemaVersion: 4}") {
		t.Errorf("the messages are those of the newest version: %q", s.Messages)
	}
}

// TestAContentThatReturns is no new version, and is judged all the same: who has the latest version must read what is written.
func TestAContentThatReturns(t *testing.T) {
	record := func(fields string) string { return `{"type":"record","name":"R","fields":[` + fields + `]}` }
	without, with := record(`{"name":"a","type":"int"}`), record(`{"name":"a","type":"int"},{"name":"b","type":"int"}`)
	for level, want := range map[avro.Level]check.Verdict{"FORWARD": check.Incompatible, "BACKWARD": check.Compatible} {
		r := historytest.New(t)
		r.Commit(map[string]string{"contracts/m/p.yaml": contractText("p", level), "schemas/m/p.avsc": without})
		r.Commit(map[string]string{"schemas/m/p.avsc": with})
		r.Write(map[string]string{"schemas/m/p.avsc": without})
		s := subject(t, run(t, r), "p-value")
		if s.Before != 2 || s.After != 1 || (len(stops(s, check.Confluent)) > 0) != (want == check.Incompatible) {
			t.Errorf("%s: %+v", level, s)
		}
		// A file that went and comes back meets the versions that it had.
		r.Write(map[string]string{"schemas/m/p.avsc": with})
		r.Git("rm", "-q", "--cached", "schemas/m/p.avsc")
		r.Git("commit", "-q", "-m", "gone")
		r.Write(map[string]string{"schemas/m/p.avsc": record(`{"name":"c","type":"int"}`)})
		if s = subject(t, run(t, r), "p-value"); s.Before != 0 || s.After != 3 || len(stops(s, check.Confluent)) == 0 {
			t.Errorf("%s: %+v", level, s)
		}
	}
}

// TestTheBaseDecidesTheLevel: a change cannot lower the level that it is judged by.
func TestTheBaseDecidesTheLevel(t *testing.T) {
	r := ownRepository(t)
	edit(t, r, trades, `"name": "price"`, `"name": "cost"`)
	edit(t, r, "contracts/market/raw-trades.yaml", "value: FULL_TRANSITIVE", "value: NONE")
	report := run(t, r)
	s := subject(t, report, "raw-trades-value")
	if s.Level != "FULL_TRANSITIVE" || len(stops(s, check.Confluent)) != 2 {
		t.Errorf("%+v", s)
	}
	if !strings.Contains(strings.Join(stops(s, check.Semantic), " "), "level-lowered") {
		t.Errorf("the lowered level is no finding: %v", stops(s, check.Semantic))
	}
}

// TestAWaiverLetsAMeaningPass, and never what a registry refuses.
func TestAWaiverLetsAMeaningPass(t *testing.T) {
	r := ownRepository(t)
	edit(t, r, "contracts/market/raw-trades.yaml", "{property: retention, value: 7, unit: d}", "{property: retention, value: 5, unit: d}")
	s := subject(t, run(t, r), "raw-trades-value")
	var hash string
	for _, f := range s.Findings {
		if f.Rule == "retention-shortened" {
			hash = f.Hash
		}
	}
	if hash == "" || s.Verdict() != check.Incompatible || s.Before != s.After {
		t.Fatalf("%+v", s)
	}
	waiver := fmt.Sprintf("change: %s\nrule: retention-shortened\nproduct: raw-trades\napprover: market-data-oncall\nreason: \"The disks are full; the readers agreed.\"\nexpires: 2026-12-31\n", hash)
	r.Write(map[string]string{"contracts/waivers/retention.yaml": waiver})
	report := run(t, r)
	if s = subject(t, report, "raw-trades-value"); report.ExitCode() != 0 || !strings.Contains(fmt.Sprint(s.Findings), "waivers/retention.yaml") {
		t.Errorf("waived: %+v", s)
	}
	edit(t, r, trades, `"name": "price"`, `"name": "cost"`)
	if report = run(t, r); report.ExitCode() != check.ExitIncompatible {
		t.Errorf("a waiver lets a registry's refusal pass: %+v", report)
	}
}

func TestWhatARegistryRefusesIsAFinding(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want string }{
		"a name": {`"name": "price"`, `"name": "trade-price"`, "trade-price"},
		"a default": {`"type": "string"},
    {"name": "symbol"`, `"type": "string", "default": 5},
    {"name": "symbol"`, "invalid default for field venue"},
		"a type nobody defines": {`"type": "streamforge.market.FrameCoordinates"`, `"type": "streamforge.market.Coordinates"`, "streamforge.market.Coordinates, which no schema defines"},
		"no JSON":               {`"type": "record",`, `"type": "record"`, "not JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			r := ownRepository(t)
			edit(t, r, trades, c.from, c.to)
			report := run(t, r)
			s := subject(t, report, "raw-trades-value")
			if len(s.Findings) != 1 || s.Findings[0].Rule != check.NotAccepted || !strings.Contains(s.Findings[0].Reason, c.want) || s.After != 0 || report.ExitCode() != check.ExitIncompatible {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestAFileThatIsGone(t *testing.T) {
	r := ownRepository(t)
	r.Write(map[string]string{trades: ""})
	s := subject(t, run(t, r), "raw-trades-value")
	if !s.Removed || !strings.Contains(strings.Join(stops(s, check.Confluent), " "), check.SubjectRemoved) {
		t.Errorf("the contract still names it: %+v", s)
	}
	r = ownRepository(t)
	r.Write(map[string]string{trades: "", "contracts/market/raw-trades.yaml": ""})
	s = subject(t, run(t, r), "raw-trades-value")
	if !strings.Contains(strings.Join(stops(s, check.Semantic), " "), "product-removed") {
		t.Errorf("contract and schema are gone: %+v", s)
	}
}

// TestAFileThatMoves changes nothing.
func TestAFileThatMoves(t *testing.T) {
	r := ownRepository(t)
	text, err := os.ReadFile(filepath.Join(r.Dir, trades))
	if err != nil {
		t.Fatal(err)
	}
	r.Write(map[string]string{trades: "", "schemas/trading/raw-trades.avsc": string(text)})
	if report := run(t, r); report.Verdict() != check.Unchanged {
		t.Errorf("%+v", report.Subjects)
	}
}

func TestWhatCannotBeJudgedIsAnError(t *testing.T) {
	r := ownRepository(t)
	edit(t, r, "contracts/market/raw-trades.yaml", "status: active", "status: lively")
	_, err := check.Run(t.Context(), check.Options{Dir: r.Dir})
	var problems contract.Problems
	if !errors.As(err, &problems) {
		t.Errorf("a contract that is wrong: %v", err)
	}
	empty := historytest.New(t)
	empty.Commit(map[string]string{"README.md": "x"})
	if _, err := check.Run(t.Context(), check.Options{Dir: empty.Dir}); err == nil || !strings.Contains(err.Error(), "schemas") {
		t.Errorf("no schemas: %v", err)
	}
}

// TestTheBasesContractCannotBeRead: an older form of contracts must not make a change pass.
func TestTheBasesContractCannotBeRead(t *testing.T) {
	r := historytest.New(t)
	r.Commit(map[string]string{
		"contracts/m/p.yaml": strings.Replace(contractText("p", "NONE"), "status: active", "status: lively", 1),
		"contracts/m/q.yaml": contractText("q", "NONE"),
		"schemas/m/p.avsc":   `{"type":"record","name":"R","fields":[]}`, "schemas/m/q.avsc": `{"type":"record","name":"R","fields":[]}`,
	})
	r.Write(map[string]string{"contracts/m/p.yaml": contractText("p", "NONE"), "schemas/m/p.avsc": `{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}`})
	report := run(t, r)
	s := subject(t, report, "p-value")
	if s.Level != contract.SharedTypeLevel || s.Verdict() != check.Incompatible || !strings.Contains(strings.Join(report.Notes, "\n"), "lively") {
		t.Errorf("%+v", report)
	}
}

func TestAsJSON(t *testing.T) {
	r := ownRepository(t)
	edit(t, r, trades, `"name": "price"`, `"name": "cost"`)
	text, err := json.Marshal(run(t, r))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Verdict  string
		Base     string
		Same     int
		Subjects []struct {
			Name, Verdict, Level string
			Before, After        int
			Findings             []struct{ Layer, Rule, Severity, Path, Reason string }
		}
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if got.Verdict != "incompatible" || len(got.Subjects) != 1 || got.Subjects[0].Verdict != "incompatible" || got.Subjects[0].Findings[0].Path == "" {
		t.Errorf("%s", text)
	}
}

// golden compares the text of a report.
func golden(t *testing.T, name string, report check.Report) {
	t.Helper()
	var b bytes.Buffer
	if err := report.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	got := b.String()
	_, commit, _ := strings.Cut(report.Base, " at ")
	got = strings.ReplaceAll(got, commit, "<commit>")
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("the text differs (write it anew: go test -update): %s", diff)
	}
}
