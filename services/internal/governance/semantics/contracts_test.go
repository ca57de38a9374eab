package semantics_test

import (
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/contract/rule"
	"github.com/streamforge/streamforge/services/internal/governance/semantics"
)

var loaded = sync.OnceValues(func() ([]contract.Contract, error) { return contract.Load(contracts.FS) })

// products are the repository's own, copied at each call, so that a test may change them.
func products(t failer, texts map[string]string) []semantics.Product {
	all, err := loaded()
	if err != nil {
		t.Fatalf("%v", err)
	}
	var out []semantics.Product
	for _, c := range all {
		c.Fields, c.SLA, c.OwnerUsers = copied(c.Fields), slices.Clone(c.SLA), slices.Clone(c.OwnerUsers)
		if c.Sink != nil {
			sink := *c.Sink
			sink.Columns, sink.OrderBy = maps.Clone(sink.Columns), slices.Clone(sink.OrderBy)
			c.Sink = &sink
		}
		out = append(out, semantics.Product{Contract: c, Schema: mustParse(t, texts[c.Subject])})
	}
	return out
}

func copied(fields []contract.Field) []contract.Field {
	out := slices.Clone(fields)
	for i := range out {
		out[i].Fields = copied(out[i].Fields)
		if out[i].Items != nil {
			items := copied([]contract.Field{*out[i].Items})
			out[i].Items = &items[0]
		}
	}
	return out
}

// anyField draws a field, nested ones included, in both contracts at once, with its path.
func anyField(t *rapid.T, base, next *contract.Contract) (b, n *contract.Field, path string) {
	type place struct {
		b, n *contract.Field
		path string
	}
	var all []place
	var list func(b, n []contract.Field, prefix string)
	list = func(b, n []contract.Field, prefix string) {
		for i := range b {
			all = append(all, place{&b[i], &n[i], prefix + b[i].Name})
			list(b[i].Fields, n[i].Fields, prefix+b[i].Name+".")
			if b[i].Items != nil {
				list(b[i].Items.Fields, n[i].Items.Fields, prefix+b[i].Name+"[].")
			}
		}
	}
	list(base.Fields, next.Fields, "")
	p := all[rapid.IntRange(0, len(all)-1).Draw(t, "field")]
	return p.b, p.n, p.path
}

// contractEdit changes one thing of a contract and may have to prepare the base. It returns the rules that it raises, nil
// where it cannot be made.
type contractEdit struct {
	name  string
	apply func(t *rapid.T, base, next *contract.Contract) []rule.Rule
}

// fieldEdit is one of a field's promises; its finding has the field's path.
type fieldEdit struct {
	name  string
	rule  rule.Rule
	apply func(t *rapid.T, base, next *contract.Field)
}

func fieldPromiseEdits() []fieldEdit {
	return []fieldEdit{
		{"less classified", rule.ClassificationLoosened, func(t *rapid.T, b, n *contract.Field) {
			b.Classification = rapid.SampledFrom([]string{"internal", "restricted", "confidential"}).Draw(t, "was")
			n.Classification = rapid.SampledFrom([]string{"", "public"}).Draw(t, "is")
		}},
		{"a lower minimum", rule.FieldRuleLoosened, func(t *rapid.T, b, n *contract.Field) {
			low, lower := 1.0, 0.5
			b.Minimum, n.Minimum = &low, rapid.SampledFrom([]*float64{nil, &lower}).Draw(t, "is")
		}},
		{"a higher maximum", rule.FieldRuleLoosened, func(t *rapid.T, b, n *contract.Field) {
			high, higher := 1.0, 1.5
			b.Maximum, n.Maximum = &high, rapid.SampledFrom([]*float64{nil, &higher}).Draw(t, "is")
		}},
		{"a milder consequence", rule.FieldRuleLoosened, func(t *rapid.T, b, n *contract.Field) {
			b.OnViolation, n.OnViolation = "block", rapid.SampledFrom([]string{"", "divert", "count"}).Draw(t, "is")
		}},
		{"null is allowed", rule.FieldRuleLoosened, func(t *rapid.T, b, n *contract.Field) {
			b.OnViolation = rapid.SampledFrom([]string{"count", "divert", "block"}).Draw(t, "action")
			b.Required, n.Required, n.OnViolation = true, false, b.OnViolation
		}},
		{"a quality rule away", rule.QualityLoosened, func(_ *rapid.T, b, n *contract.Field) {
			b.Quality, n.Quality = []string{`{"metric":"nullValues","mustBe":0}`}, nil
		}},
	}
}

// TestEveryEditOfAFieldsPromisesIsFoundWithItsPath, nested fields and those of an array's items included.
func TestEveryEditOfAFieldsPromisesIsFoundWithItsPath(t *testing.T) {
	texts := realSchemas(t)
	rapid.Check(t, func(t *rapid.T) {
		all, changed := products(t, texts), products(t, texts)
		i := rapid.IntRange(0, len(all)-1).Draw(t, "product")
		b, n, path := anyField(t, &all[i].Contract, &changed[i].Contract)
		kind := rapid.SampledFrom(fieldPromiseEdits()).Draw(t, "edit")
		b.Quality, n.Quality = nil, nil
		kind.apply(t, b, n)
		found := semantics.Compare(all[i], changed[i], nil)
		if len(found) != 1 || found[0].Rule != kind.rule || found[0].Path != path || !strings.HasPrefix(found[0].Reason, path) {
			t.Fatalf("%s of %s.%s: %+v", kind.name, all[i].Contract.ID, path, found)
		}
		if back := semantics.Compare(changed[i], all[i], nil); len(back) > 0 {
			t.Errorf("%s is found in both directions: %+v", kind.name, back)
		}
	})
}

func always(r rule.Rule, change func(t *rapid.T, base, next *contract.Contract)) func(*rapid.T, *contract.Contract, *contract.Contract) []rule.Rule {
	return func(t *rapid.T, base, next *contract.Contract) []rule.Rule {
		change(t, base, next)
		return one(r)
	}
}

func topicEdits() []contractEdit {
	return []contractEdit{
		{"key", always(rule.KeyChanged, func(_ *rapid.T, _, n *contract.Contract) { n.MessageKey = "venue/symbol/other" })},
		{"partitions", always(rule.PartitionsChanged, func(t *rapid.T, b, n *contract.Contract) {
			n.Topic.Partitions = b.Topic.Partitions + rapid.SampledFrom([]int{-1, 1, 64}).Draw(t, "by")
		})},
		{"partitioner", always(rule.PartitionerChanged, func(_ *rapid.T, _, n *contract.Contract) { n.Topic.Partitioner = "crc32" })},
		{"cleanup", always(rule.CleanupPolicyChanged, func(_ *rapid.T, b, n *contract.Contract) {
			n.Topic.CleanupPolicy = map[string]string{"delete": "compact"}[b.Topic.CleanupPolicy]
			if n.Topic.CleanupPolicy == "" {
				n.Topic.CleanupPolicy = "delete"
			}
		})},
		{"message size", always(rule.MessageSizeLowered, func(_ *rapid.T, b, n *contract.Contract) {
			b.Topic.MaxMessageBytes, n.Topic.MaxMessageBytes = 4096, 2048
		})},
		{"message size to the broker's", always(rule.MessageSizeLowered, func(_ *rapid.T, b, n *contract.Contract) {
			b.Topic.MaxMessageBytes, n.Topic.MaxMessageBytes = 4096, 0
		})},
		{"bad records", always(rule.DeadLetterRateRaised, func(_ *rapid.T, b, n *contract.Contract) { n.DeadLetterRate = b.DeadLetterRate + 0.1 })},
		{"retention", always(rule.RetentionShortened, func(t *rapid.T, b, n *contract.Contract) {
			n.Topic.RetentionMs = b.Topic.RetentionMs - rapid.Int64Range(1, b.Topic.RetentionMs-1).Draw(t, "ms")
		})},
		{"owner", always(rule.OwnerChanged, func(_ *rapid.T, _, n *contract.Contract) { n.Owner = "somebody-else" })},
		{"owners", always(rule.OwnerChanged, func(_ *rapid.T, _, n *contract.Contract) { n.OwnerUsers = []string{"somebody-else"} })},
		{"severity", func(t *rapid.T, _, n *contract.Contract) []rule.Rule {
			info := rapid.SampledFrom(rule.All()).Draw(t, "rule")
			if info.Severity == rule.Note {
				return nil
			}
			n.Severities = rule.Overrides{info.Rule: rule.Note}
			return one(rule.SeverityLowered)
		}},
		{"retired", always(rule.ProductRemoved, func(_ *rapid.T, _, n *contract.Contract) { n.Status = "retired" })},
		{"a minor for nothing", always(rule.VersionWithoutChange, func(_ *rapid.T, b, n *contract.Contract) { b.Version, n.Version = "1.3.0", "1.4.0" })},
		{"a lower minor", always(rule.VersionNotRaised, func(_ *rapid.T, b, n *contract.Contract) { b.Version, n.Version = "1.3.0", "1.2.0" })},
		{"a lower patch", always(rule.VersionNotRaised, func(_ *rapid.T, b, n *contract.Contract) { b.Version, n.Version = "1.3.4", "1.3.3" })},
	}
}

func promiseEdits() []contractEdit {
	return []contractEdit{
		{"a promise away", func(t *rapid.T, b, n *contract.Contract) []rule.Rule {
			i := rapid.IntRange(0, len(b.SLA)-1).Draw(t, "promise")
			n.SLA = slices.Delete(n.SLA, i, i+1)
			return one(rule.SLALoosened)
		}},
		{"a weaker promise", func(t *rapid.T, b, n *contract.Contract) []rule.Rule {
			i := rapid.IntRange(0, len(b.SLA)-1).Draw(t, "promise")
			switch b.SLA[i].Property {
			case "retention":
				return nil
			case "availability", "throughput":
				n.SLA[i].Value *= 0.9
			default:
				n.SLA[i].Value *= 1.5
			}
			return one(rule.SLALoosened)
		}},
		{"a quality rule away", func(t *rapid.T, b, n *contract.Contract) []rule.Rule {
			if len(b.Quality) == 0 {
				return nil
			}
			n.Quality = nil
			return one(rule.QualityLoosened)
		}},
	}
}

func sinkEdits() []contractEdit {
	withSink := func(r rule.Rule, change func(*contract.Sink, *contract.Contract)) func(*rapid.T, *contract.Contract, *contract.Contract) []rule.Rule {
		return func(_ *rapid.T, _, n *contract.Contract) []rule.Rule {
			if n.Sink == nil {
				return nil
			}
			change(n.Sink, n)
			return one(r)
		}
	}
	return []contractEdit{
		{"no sink", withSink(rule.SinkRemoved, func(_ *contract.Sink, n *contract.Contract) { n.Sink = nil })},
		{"order by", withSink(rule.OrderByChanged, func(s *contract.Sink, _ *contract.Contract) { s.OrderBy = s.OrderBy[:1] })},
		{"partition by", withSink(rule.PartitionByChanged, func(s *contract.Sink, _ *contract.Contract) { s.PartitionBy = "toYYYYMM(" + s.TimeColumn + ")" })},
		{"TTL", withSink(rule.TTLShortened, func(s *contract.Sink, _ *contract.Contract) { s.TTLDays-- })},
		{"a dictionary away", func(t *rapid.T, b, n *contract.Contract) []rule.Rule {
			if n.Sink == nil {
				return nil
			}
			for path, column := range n.Sink.Columns {
				if column.LowCardinality && column.NullAs == nil {
					n.Sink.Columns[path] = contract.Column{}
					return one(rule.ColumnTypeChanged)
				}
			}
			return nil
		}},
	}
}

// checkContractEdit makes one edit of one product: exactly its rule is raised, and the way back raises nothing that weakens.
func checkContractEdit(t failer, draw *rapid.T, texts map[string]string, product int, kind contractEdit) {
	all, changed := products(t, texts), products(t, texts)
	base, next := all[product], changed[product]
	want := kind.apply(draw, &base.Contract, &next.Contract)
	if want == nil {
		return
	}
	readers := []contract.Consumer{{Group: "model", Reads: []contract.Read{{Product: "raw-trades", Fields: []string{"price"}}}}}
	found := semantics.Compare(base, next, readers)
	if got := rulesOf(found); !slices.Equal(got, want) {
		t.Fatalf("%s of %s raises %v, want %v: %+v", kind.name, base.Contract.ID, got, want, found)
	}
	if f := found[0]; f.Reason == "" || f.Do == "" || f.Hash == "" || strings.Contains(f.Reason+f.Do, "%!") {
		t.Fatalf("%s says %q; %q", kind.name, f.Reason, f.Do)
	}
	switch want[0] {
	case rule.QualityLoosened, rule.KeyChanged, rule.PartitionsChanged, rule.PartitionerChanged, rule.CleanupPolicyChanged, rule.OwnerChanged,
		rule.OrderByChanged, rule.PartitionByChanged, rule.ColumnTypeChanged:
		return // as bad in either direction
	}
	if back := semantics.Compare(next, base, readers); slices.Equal(rulesOf(back), want) {
		t.Fatalf("%s is found in both directions: %+v", kind.name, back)
	}
}

// TestEverySingleEditOfAContractIsFound makes every kind of weakening in every contract of the repository, each with two
// draws, and then more of them at random.
func TestEverySingleEditOfAContractIsFound(t *testing.T) {
	texts := realSchemas(t)
	edits := slices.Concat(topicEdits(), promiseEdits(), sinkEdits())
	count := len(products(t, texts))
	for i := range count {
		for _, kind := range edits {
			for seed := range 2 {
				rapid.Custom(func(draw *rapid.T) bool {
					checkContractEdit(t, draw, texts, i, kind)
					return rapid.Bool().Draw(draw, "something, which rapid insists on")
				}).Example(seed)
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		checkContractEdit(t, t, texts, rapid.IntRange(0, count-1).Draw(t, "product"), rapid.SampledFrom(edits).Draw(t, "edit"))
	})
}

func TestAReformattedContractHasNoFinding(t *testing.T) {
	texts := realSchemas(t)
	files, err := fs.Glob(contracts.FS, "*/raw-*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	rapid.Check(t, func(t *rapid.T) {
		file := rapid.SampledFrom(files).Draw(t, "file")
		text, err := fs.ReadFile(contracts.FS, file)
		if err != nil {
			t.Fatalf("%v", err)
		}
		var lines []string
		for i, line := range strings.Split(string(text), "\n") {
			if rapid.IntRange(0, 19).Draw(t, "comment") == 0 && i > 0 {
				lines = append(lines, "# a remark", "")
			}
			lines = append(lines, line)
		}
		was, problems := contract.Parse(file, text)
		is, more := contract.Parse(file, []byte(strings.Join(lines, "\n")))
		if len(problems)+len(more) > 0 {
			t.Fatalf("%v %v", problems, more)
		}
		schema := mustParse(t, texts[was.Subject])
		if found := semantics.Compare(semantics.Product{Contract: was, Schema: schema}, semantics.Product{Contract: is, Schema: schema}, nil); len(found) > 0 {
			t.Fatalf("%s differs from itself: %+v", file, found)
		}
	})
}

func product(t *testing.T, id string) semantics.Product {
	t.Helper()
	for _, p := range products(t, realSchemas(t)) {
		if p.Contract.ID == id {
			return p
		}
	}
	t.Fatalf("no product %s", id)
	return semantics.Product{}
}

func TestOnlyTheBaseDecidesHowBadAChangeIs(t *testing.T) {
	base, next := product(t, "raw-trades"), product(t, "raw-trades")
	next.Contract.MessageKey = "venue"
	next.Contract.Severities = rule.Overrides{rule.KeyChanged: rule.Note}
	found := semantics.Compare(base, next, nil)
	if len(found) != 2 || found[0].Rule != rule.KeyChanged || !found[0].Stops() || found[1].Rule != rule.SeverityLowered || !found[1].Stops() {
		t.Errorf("a change excuses itself: %+v", found)
	}
	base.Contract.Severities = next.Contract.Severities
	if found := semantics.Compare(base, next, nil); len(found) != 1 || found[0].Severity != rule.Note {
		t.Errorf("the base's severity does not count: %+v", found)
	}
}

func TestLevelsAreOnlyPartlyOrdered(t *testing.T) {
	lowered := func(from, to string) bool {
		base, next := product(t, "raw-trades"), product(t, "raw-trades")
		base.Contract.Compatibility, next.Contract.Compatibility = from, to
		return slices.Contains(rulesOf(semantics.Compare(base, next, nil)), rule.LevelLowered)
	}
	for _, c := range [][2]string{{"FULL_TRANSITIVE", "FULL"}, {"FULL", "BACKWARD"}, {"BACKWARD", "FORWARD"}, {"FORWARD", "BACKWARD"}, {"BACKWARD_TRANSITIVE", "FULL"}, {"FORWARD", "NONE"}} {
		if !lowered(c[0], c[1]) {
			t.Errorf("%s → %s guarantees less", c[0], c[1])
		}
	}
	for _, c := range [][2]string{{"FULL", "FULL_TRANSITIVE"}, {"BACKWARD", "FULL"}, {"NONE", "FORWARD"}, {"BACKWARD", "BACKWARD"}} {
		if lowered(c[0], c[1]) {
			t.Errorf("%s → %s guarantees no less", c[0], c[1])
		}
	}
}

func TestPromisesAreComparedInTheirUnitAndDirection(t *testing.T) {
	for _, c := range []struct {
		was, is contract.SLA
		loose   bool
	}{
		{contract.SLA{Property: "latency", Value: 500, Unit: "ms"}, contract.SLA{Property: "latency", Value: 0.5, Unit: "s"}, false},
		{contract.SLA{Property: "latency", Value: 500, Unit: "ms"}, contract.SLA{Property: "latency", Value: 1, Unit: "s"}, true},
		{contract.SLA{Property: "frequency", Value: 1, Unit: "min"}, contract.SLA{Property: "frequency", Value: 59, Unit: "s"}, false},
		{contract.SLA{Property: "availability", Value: 99.9, Unit: "percent"}, contract.SLA{Property: "availability", Value: 99, Unit: "percent"}, true},
		{contract.SLA{Property: "errorRate", Value: 1, Unit: "percent"}, contract.SLA{Property: "errorRate", Value: 0.5, Unit: "percent"}, false},
		{contract.SLA{Property: "throughput", Value: 1000, Unit: "records/s"}, contract.SLA{Property: "throughput", Value: 2000, Unit: "bytes/s"}, true},
		{contract.SLA{Property: "endOfSupport", Text: "2028-01-31"}, contract.SLA{Property: "endOfSupport", Text: "2027-12-31"}, true},
		{contract.SLA{Property: "endOfLife", Text: "2028-01-31"}, contract.SLA{Property: "endOfLife", Text: "2029-01-31"}, false},
		{contract.SLA{Property: "generalAvailability", Text: "2027-01-31"}, contract.SLA{Property: "generalAvailability", Text: "2027-02-28"}, true},
	} {
		base, next := product(t, "raw-trades"), product(t, "raw-trades")
		base.Contract.SLA, next.Contract.SLA = []contract.SLA{c.was}, []contract.SLA{c.is}
		if got := slices.Contains(rulesOf(semantics.Compare(base, next, nil)), rule.SLALoosened); got != c.loose {
			t.Errorf("%+v → %+v: loosened %v", c.was, c.is, got)
		}
	}
}

func TestASchemaThatChangesRaisesTheMinorByOne(t *testing.T) {
	base, next := product(t, "raw-trades"), product(t, "raw-trades")
	text := strings.Replace(realSchemas(t)["raw-trades-value"], `"fields":[`, `"fields":[{"name":"note","doc":"A remark.","type":"string","default":""},`, 1)
	next.Schema = mustParse(t, text)
	base.Contract.Version = "1.9.2"
	readers := []contract.Consumer{{Group: "model", Reads: []contract.Read{{Product: "raw-trades", Fields: []string{"price"}}}}}
	for version, want := range map[string]int{"1.9.2": 1, "1.10.0": 0, "1.11.0": 1, "1.8.0": 1} {
		next.Contract.Version = version
		found := semantics.Compare(base, next, readers)
		// It is nobody's reader who is hurt by a number.
		if got := len(found); got != want || got == 1 && (found[0].Rule != rule.VersionNotRaised || len(found[0].Readers) > 0 || !strings.Contains(found[0].Do, "1.10.0")) {
			t.Errorf("1.9.2 → %s: %+v", version, found)
		}
	}
}

func TestNewProductsAreNumberedInOrder(t *testing.T) {
	base := []contract.Contract{{ID: "raw-trades", Version: "1.4.0"}}
	for _, c := range []struct {
		id, version string
		fine        bool
	}{
		{"raw-trades.v2", "2.0.0", true}, {"raw-trades.v2", "2.1.0", false}, {"raw-trades.v3", "3.0.0", false}, {"candles", "1.0.0", true}, {"candles", "1.2.0", false}, {"candles.v2", "2.0.0", false},
	} {
		found := semantics.Added(contract.Contract{ID: c.id, Version: c.version}, base)
		if (len(found) == 0) != c.fine {
			t.Errorf("%s %s: %+v", c.id, c.version, found)
		}
	}
}

func TestAProductThatGoesNamesItsReaders(t *testing.T) {
	base := product(t, "raw-trades")
	readers := []contract.Consumer{{Group: "model", Reads: []contract.Read{{Product: "raw-trades", Fields: []string{"price"}}}}, {Group: "other", Reads: []contract.Read{{Product: "raw-frames"}}}}
	found := semantics.Removed(base.Contract, readers)
	if len(found) != 1 || found[0].Rule != rule.ProductRemoved || !slices.Equal(found[0].Readers, []string{"model"}) || !strings.Contains(found[0].Reason, "model") {
		t.Errorf("%+v", found)
	}
}

func TestAClassificationFollowsARenamedField(t *testing.T) {
	base, next := product(t, "raw-trades"), product(t, "raw-trades")
	text := strings.Replace(realSchemas(t)["raw-trades-value"], `"name":"trade_id"`, `"aliases":["trade_id"],"name":"trade_no"`, 1)
	next.Schema = mustParse(t, text)
	i := slices.IndexFunc(base.Contract.Fields, func(f contract.Field) bool { return f.Name == "trade_id" })
	base.Contract.Fields[i].Classification = "confidential"
	next.Contract.Fields[i].Name, next.Contract.Fields[i].Classification = "trade_no", "public"
	found := semantics.Compare(base, next, nil)
	if !slices.ContainsFunc(found, func(f semantics.Finding) bool { return f.Rule == rule.ClassificationLoosened && f.Path == "trade_id" }) {
		t.Errorf("a rename hides the classification: %+v", found)
	}
}

func TestAKeysSchemaMustNotChange(t *testing.T) {
	base, next := product(t, "raw-trades"), product(t, "raw-trades")
	base.Key, next.Key = mustParse(t, `"string"`), mustParse(t, `{"type":"string"}`)
	if found := semantics.Compare(base, next, nil); len(found) > 0 {
		t.Errorf("%+v", found)
	}
	next.Key = mustParse(t, `{"type":"record","name":"K","fields":[{"name":"symbol","type":"string"}]}`)
	next.Contract.Version = "1.1.0"
	if base.Contract.Version != "1.0.0" {
		base.Contract.Version = "1.0.0"
	}
	if found := semantics.Compare(base, next, nil); len(found) != 1 || found[0].Rule != rule.KeyChanged {
		t.Errorf("%+v", found)
	}
}

// BenchmarkCompare is one product of the size of raw-orderbooks with one change.
func BenchmarkCompare(b *testing.B) {
	texts := realSchemas(b)
	var base, next semantics.Product
	for _, p := range products(b, texts) {
		if p.Contract.ID == "raw-orderbooks" {
			base, next = p, p
		}
	}
	next.Schema = mustParse(b, strings.Replace(texts["raw-orderbooks-value"], `"scale":18`, `"scale":8`, 1))
	for b.Loop() {
		if len(semantics.Compare(base, next, nil)) == 0 {
			b.Fatal("no finding")
		}
	}
}
