package migration_test

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/avro/avrotest"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/governance/migration"
)

// TestADraftOfAnyTwoSchemas is a file that can be read; it compiles when nothing is left to decide, and is refused when
// something is.
func TestADraftOfAnyTwoSchemas(t *testing.T) {
	const name = "market/trades.v2.migration.yaml"
	rapid.Check(t, func(t *rapid.T) {
		to, from := avrotest.DrawPair(t)
		for _, text := range []string{from, to} {
			if _, err := avro.Parse(text, nil, avro.KeepInvalidDefaults()); err != nil {
				t.Skip("no schema")
			}
		}
		draft, err := migration.NewDraft(name, "trades", "trades.v2", from, to)
		if err != nil {
			t.Fatalf("%v\n%s\n%s", err, from, to)
		}
		m, problems := contract.ParseMigration(name, draft.Text)
		if len(problems) > 0 {
			t.Fatalf("%v\n%s", problems, draft.Text)
		}
		_, err = migration.Compile(m, from, to)
		var faults migration.Faults
		if (err == nil) != (draft.Undecided == 0) || err != nil && !errors.As(err, &faults) {
			t.Fatalf("%d undecided, and: %v\n%s\n%s\n%s", draft.Undecided, err, draft.Text, from, to)
		}
	})
}

// FuzzRules: whatever stands in a file, Compile says what is wrong or makes a mapping, without a panic.
func FuzzRules(f *testing.F) {
	f.Add(tradesRules)
	f.Add(wideRules)
	f.Add("[{default: {field: fee, up: {a: [1, null]}}}, {rescale: {field: price, by: 1/0}}]")
	f.Fuzz(func(t *testing.T, rules string) {
		for _, texts := range [][2]string{{tradesV1, tradesV2}, {wideV1, wideV2}} {
			if m, err := compileRules(rules, texts[0], texts[1]); err == nil {
				_, _ = m.Up(nil, []byte{2, 65, 0, 0, 0, 0, 0, 0})
			}
		}
	})
}
