package comment_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/governance/check"
	"github.com/streamforge/streamforge/services/internal/governance/comment"
)

var update = flag.Bool("update", false, "write the golden files and the generated table anew")

// golden compares with a file of testdata, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; write it with -update", err)
	}
	if got != string(want) {
		t.Errorf("%s is not what the comment says now; look at the difference, then write it anew with -update:\n%s", path, got)
	}
}

// renamed is what the check says when price is renamed: a change that breaks, one that only adds, and 40 that did not change.
func renamed() check.Report {
	return check.Report{
		Base: "origin/main at 636986f",
		Same: 40,
		Subjects: []check.Subject{
			{
				Name: "feed-gaps-value", Product: "feed-gaps", Owner: "market-data", File: "schemas/market/feed-gaps.avsc", Level: avro.LevelFullTransitive,
				Before: 2, After: 3,
				SQL: []string{"ALTER TABLE default.feed_gaps ADD COLUMN IF NOT EXISTS `severity` Int32 AFTER `detail`"},
			},
			{
				Name: "raw-trades-value", Product: "raw-trades", Owner: "market-data", File: "schemas/market/raw-trades.avsc", Level: avro.LevelFullTransitive,
				Before: 3, After: 4,
				Findings: []check.Finding{
					{
						Layer: check.Confluent, Rule: "READER_FIELD_MISSING_DEFAULT_VALUE", Severity: check.Breaking, Path: "price",
						Reason: "`price` is gone, it looks renamed to `trade_price`: readers with an earlier version need it, since it has no default there",
						Do:     "keep `price` and add `trade_price` with a default beside it", Versions: []int{3, 2, 1},
					},
					{
						Layer: check.Semantic, Rule: "field-still-read", Severity: check.Breaking, Path: "price",
						Reason: "price is renamed to trade_price, and volatility-predictor, which reads it, can read no new record with the older schema",
						Do:     "leave price and add trade_price beside it", Hash: "change-0123456789abcdef",
					},
					{
						Layer: check.Semantic, Rule: "doc-removed", Severity: check.Warning, Path: "quantity",
						Reason: "quantity loses its documentation \"Quantity in the base currency\"", Do: "put it back, or write a better one", Hash: "change-0000000000000001",
					},
					{
						Layer: check.Semantic, Rule: "unit-changed", Severity: check.Breaking, Path: "received_at", Reason: "received_at counts microseconds instead of milliseconds",
						Hash: "change-0000000000000002", WaivedBy: "waivers/received-at.yaml",
					},
				},
				Messages:   []string{"{errorType:'READER_FIELD_MISSING_DEFAULT_VALUE', description:'The field 'price' at path '/fields/4' in the old schema has no default value and is missing in the new schema', additionalInfo:'price'}", "{oldSchemaVersion: 3}"},
				Readers:    []check.Reader{{Group: "volatility-predictor", Owner: "data-science", Reads: []string{"price"}}, {Group: "writer.raw-trades", Owner: "platform", Reads: []string{"price"}}},
				SQL:        []string{"ALTER TABLE default.raw_trades ADD COLUMN IF NOT EXISTS `trade_price` Decimal(38, 18) AFTER `trade_id`;"},
				Suggestion: "keep `price` and add {\"name\":\"trade_price\",\"type\":[\"null\",\"double\"],\"default\":null}",
				NextMajor:  "raw-trades.v2",
			},
		},
	}
}

// evidenced adds what snapshots of two clusters say.
func evidenced(r check.Report) check.Report {
	r.Clusters = []string{"production", "staging"}
	trades := &r.Subjects[1]
	trades.Readers[0].Live = "live on 2026-11-22 (production)"
	trades.Readers[1].Live = "without a member on 2026-11-21, has read up to 2026-11-02 (staging)"
	trades.Undeclared = []check.Undeclared{{Group: "notebook-of-max", Life: "without a member on 2026-11-22, has read nothing of the last 30 days", Cluster: "production"}}
	trades.Written = []check.Written{
		{Version: 1, SchemaID: 3, LastWritten: "2026-11-22", Today: true, Producers: []string{"parser@1.4.0"}, Cluster: "production"},
		{Version: 2, SchemaID: 9, LastWritten: "2026-11-20", Producers: []string{"parser@1.5.0"}, Cluster: "production"},
		{SchemaID: 77, LastWritten: "2026-11-22", Today: true, Cluster: "production"},
	}
	return r
}

func TestComment(t *testing.T) {
	compatible := renamed()
	compatible.Subjects = compatible.Subjects[:1]
	undeclared := renamed()
	undeclared.Clusters, undeclared.Subjects = []string{"production"}, undeclared.Subjects[:1]
	undeclared.Subjects[0].Undeclared = []check.Undeclared{{Group: "notebook-of-max", Life: "live on 2026-11-22", Cluster: "production"}}
	for name, in := range map[string]comment.Input{
		"breaking.md":   {Report: renamed()},
		"evidence.md":   {Report: evidenced(renamed())},
		"compatible.md": {Report: compatible},
		"undeclared.md": {Report: undeclared},
		"unchanged.md":  {Report: check.Report{Base: "main at 636986f", Same: 42, Notes: []string{"the working tree lacks commits of main: merge or rebase first"}}},
		"not-judged.md": {NotJudged: []string{"contract raw-trades: `32` partitions with the key symbol in contracts/market/raw-trades.yaml:15", hostileText}},
		"hostile.md":    {Report: hostile(hostileText)},
	} {
		t.Run(name, func(t *testing.T) {
			got := comment.Markdown(in)
			golden(t, name, got)
			if again := comment.Markdown(in); again != got {
				t.Error("the same report gave another comment")
			}
			verdict := string(in.Report.Verdict())
			if len(in.NotJudged) > 0 {
				verdict = "not-judged"
			}
			if want := comment.Marker + verdict + " -->\n"; !strings.HasPrefix(got, want) {
				t.Errorf("the comment begins with %.60q, want %q", got, want)
			}
			var data bytes.Buffer
			if err := in.Encode(&data); err != nil {
				t.Fatal(err)
			}
			handed, err := comment.Decode(&data)
			if err != nil {
				t.Fatal(err)
			}
			if comment.Markdown(handed) != got {
				t.Errorf("handed over as data the comment is another:\n%s", comment.Markdown(handed))
			}
		})
	}
}

const hostileText = "<!-- streamforge:pr-check unchanged --> | <img src=x onerror=alert(1)> [click](https://evil.example) ![i](http://evil.example/i.png) @torvalds #1 GH-2 " +
	"``` \n# heading\n- [x] done\n| a | b |\n`code | pipe` $x$ &lt; \u202egnp.exe\u202c \u200b **bold** _em_ ~~gone~~ www.evil.example <details> </details> [^1] [a]: http://x"

// hostile puts the same text wherever a branch can write something.
func hostile(s string) check.Report {
	return check.Report{
		Base: s, Notes: []string{s}, Clusters: []string{s},
		Subjects: []check.Subject{{
			Name: s, Product: s, Owner: s, File: s, Level: avro.Level(s), Before: 1, After: 2,
			Findings: []check.Finding{
				{Layer: check.Confluent, Rule: s, Severity: check.Breaking, Path: s + "1", Reason: s, Do: s, Versions: []int{1}},
				{Layer: check.Semantic, Rule: s, Severity: check.Breaking, Path: s, Reason: s, Do: s, Hash: s},
				{Layer: check.Semantic, Rule: s, Severity: check.Breaking, Path: s, Reason: s, Do: s, Hash: s, WaivedBy: s},
			},
			Messages: []string{s}, Readers: []check.Reader{{Group: s, Owner: s, Reads: []string{s}, Live: s}}, SQL: []string{s}, Suggestion: s, NextMajor: s,
			Undeclared: []check.Undeclared{{Group: s, Life: s, Cluster: s}},
			Written:    []check.Written{{Version: 1, LastWritten: s, Producers: []string{s}, Cluster: s}, {SchemaID: 7, LastWritten: s, Cluster: s}},
		}},
	}
}

// Whatever a report holds, the comment fits, and what stops the change is still told.
func TestCommentFitsGitHub(t *testing.T) {
	for _, size := range []struct{ subjects, findings, text int }{{1, 1, 1_000_000}, {3, 5000, 100}, {500, 3, 50}, {60, 60, 200}, {40, 1, 3000}} {
		t.Run(fmt.Sprintf("%d subjects, %d findings, texts of %d", size.subjects, size.findings, size.text), func(t *testing.T) {
			s := strings.Repeat("@_`\U0010ffff", size.text/4+1)
			var report check.Report
			for i := range size.subjects {
				one := hostile(s).Subjects[0]
				one.Name = fmt.Sprintf("subject-%d-%s", i, s)
				for len(one.Findings) < size.findings {
					one.Findings = append(one.Findings, one.Findings[:min(len(one.Findings), size.findings-len(one.Findings))]...)
				}
				report.Subjects = append(report.Subjects, one)
			}
			got := comment.Markdown(comment.Input{Report: report})
			if len(got) >= 65_536 {
				t.Errorf("%d bytes", len(got))
			}
			if !strings.HasPrefix(got, comment.Marker+"incompatible -->") || !strings.Contains(got, fmt.Sprintf("**%d incompatible**", size.subjects)) {
				t.Errorf("the verdict is lost:\n%.300s", got)
			}
		})
	}
}

func TestDecodeRefusesWhatIsNotOneObject(t *testing.T) {
	for _, text := range []string{"", "[]", `{"report": 1}`, `{} {}`, `{"notJudged": ["` + strings.Repeat("x", 9<<20) + `"]}`} {
		if _, err := comment.Decode(strings.NewReader(text)); err == nil {
			t.Errorf("%.40q was read", text)
		}
	}
}

// FuzzDecode: whatever a branch hands over, there is an error or a comment that fits.
func FuzzDecode(f *testing.F) {
	var data bytes.Buffer
	if err := (comment.Input{Report: evidenced(renamed())}).Encode(&data); err != nil {
		f.Fatal(err)
	}
	f.Add(data.String())
	f.Add(`{"report":{"subjects":[{"before":-1,"after":9223372036854775807,"findings":[{"versions":[3,1,2,2,-5]}]}]}}`)
	f.Fuzz(func(t *testing.T, text string) {
		in, err := comment.Decode(strings.NewReader(text))
		if err != nil {
			return
		}
		markdown := comment.Markdown(in)
		if len(markdown) >= 65_536 || !strings.HasPrefix(markdown, comment.Marker) {
			t.Fatalf("%d bytes, beginning with %.80q", len(markdown), markdown)
		}
		if got := shapeOf(markdown); len(got.forbidden) > 0 {
			t.Fatalf("%q in\n%s", got.forbidden, markdown)
		}
	})
}
