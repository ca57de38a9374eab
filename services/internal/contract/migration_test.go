package contract_test

import (
	"strings"
	"testing"

	"github.com/streamforge/streamforge/services/internal/contract"
)

const aMigration = `from: raw-trades
to: raw-trades.v2
fields:
  - rename: {from: quantity, to: size}
joinAt:
  topicId: 6f1c0ff2-0d6f-4a0c-9ba8-0123456789ab
  offsets: [1, 2]
`

// TestAMigrationIsOneLineWhenItIsWrong: the repository has no second version of raw-trades, so the last word of a file that
// is right is that its product has no contract.
func TestAMigrationIsOneLineWhenItIsWrong(t *testing.T) {
	const file = "market/raw-trades.v2.migration.yaml"
	const at = " in contracts/" + file + ":"
	for name, c := range map[string]struct{ from, to, want string }{
		"right but for its product": {"", "", "migration raw-trades.v2: product raw-trades.v2 has no contract" + at + "2; add contracts/market/raw-trades.v2.yaml"},
		"an unknown product":        {"from: raw-trades", "from: raw-trade", "product raw-trade has no contract" + at + "1"},
		"not the next version":      {"to: raw-trades.v2", "to: feed-gaps", "the file is named raw-trades.v2.migration.yaml"},
		"two rules in one":          {"{from: quantity, to: size}", "{from: quantity, to: size}\n    drop: {field: a}", "fields.0"},
		"an unknown rule":           {"rename:", "remove:", "fields.0 has no property remove" + at + "4"},
		"by a word":                 {"rename: {from: quantity, to: size}", "rescale: {field: price, by: ten}", `fields.0.rescale.by is "ten"` + at + "4; it must match"},
		"undecided":                 {"rename: {from: quantity, to: size}", "decide: what becomes of quantity?", "undecided: what becomes of quantity?" + at + "4; write the rule in its place"},
		"no topic id":               {"6f1c0ff2-0d6f-4a0c-9ba8-0123456789ab", "raw-trades", "joinAt.topicId"},
		"a negative offset":         {"[1, 2]", "[-1, 2]", "joinAt.offsets.0"},
	} {
		text := strings.Replace(aMigration, c.from, c.to, 1)
		err := contract.Lint(with(t, file, text), subjects(t))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}
