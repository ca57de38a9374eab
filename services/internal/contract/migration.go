package contract

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/streamforge/streamforge/schemas"
)

// Migration says how the records of a product become those of its next major version, and back. What its rules mean for a
// body is package governance/migration's to say.
type Migration struct {
	// From and To are the ids of the two products.
	From, To string
	// Fields are the rules; what no rule names is the same under both.
	Fields []MigrationRule
	// JoinAt is written at the cut-over; nil before it.
	JoinAt *Join

	// File is the path below contracts/.
	File string

	declaration
}

// MigrationRule is one rule; one of its members is set. Paths are written like "bids[].price".
type MigrationRule struct {
	// Rename pairs a field of the earlier version with one of the later that has another name in the same record.
	Rename *Rename
	// Rescale writes a number in another unit, scale or width.
	Rescale *Rescale
	// Default gives a value where the other version has none.
	Default *Default
	// Drop leaves a field of the earlier version out.
	Drop *Drop
	// Decide is what a draft could not know; a file with it is not finished.
	Decide string
}

// Rename of a field, or of an enum's symbol, which is a step of the path like a field.
type Rename struct{ From, To string }

// Rescale of a field, by its path in the later version.
type Rescale struct {
	Field string
	// By is the later version's number divided by the earlier's, where a time's number counts its own units; "" where the two
	// types say it.
	By factor
}

// Default of a field, by its path in the later version.
type Default struct {
	Field string
	// Up is what the later version gets, Down what the earlier one gets; empty for none.
	Up, Down json.RawMessage
}

// Drop of a field, by its path in the earlier version.
type Drop struct {
	Field string
	// Down is what the earlier version gets back; empty for the default of its schema.
	Down json.RawMessage
}

// factor is a number as it was written: a decimal, a fraction, or an integer without quotes.
type factor string

func (f *factor) UnmarshalJSON(text []byte) error {
	*f = factor(strings.Trim(string(text), `"`))
	return nil
}

// Join is where the later version's rows take over from the earlier's.
type Join struct {
	// TopicID of the earlier topic; rows of one that had the name before it are all earlier.
	TopicID string
	// Offsets by partition of the earlier topic: the later topic holds every record from it on, and none before it.
	Offsets []int64
}

// RuleFault is what is wrong with a migration's rules.
type RuleFault struct {
	// Rule is the position in Fields; -1 for a rule that is missing.
	Rule     int
	What, Do string
}

const migrationEnding = ".migration.yaml"

// LoadMigrations reads <domain>/<product>.migration.yaml and compares them with the contracts, sorted by file. The error is
// Problems.
func LoadMigrations(fsys fs.FS, contracts []Contract) ([]Migration, error) {
	all, problems, err := loadMigrations(fsys)
	if err != nil {
		return nil, err
	}
	return all, append(problems, linter{}.lintMigrations(all, contracts, nil)...).Err()
}

func loadMigrations(fsys fs.FS) ([]Migration, Problems, error) {
	return loadEach(fsys, "migration", "*/*"+migrationEnding, ParseMigration)
}

// ParseMigration reads one file; name is its path below contracts/.
func ParseMigration(name string, text []byte) (Migration, Problems) {
	var m Migration
	var problems Problems
	if m.declaration, problems = declare("migration", name, text, &m); len(problems) > 0 {
		return Migration{}, problems
	}
	m.File = name
	if want := m.To + migrationEnding; path.Base(name) != want {
		problems = append(problems, m.problem("/to", fmt.Sprintf("to is %q, the file is named %s", m.To, path.Base(name)), "the file is named "+want))
	}
	return m, problems
}

// WithMigrations makes Lint ask whether a migration's rules account for every field of both self-contained schemas. The one
// that knows is migration.Judge.
func WithMigrations(judge func(m Migration, from, to string) []RuleFault) Option {
	return func(l *linter) { l.migration = judge }
}

// lintMigrations compares files with the contracts, and with the schemas where the linter knows how.
func (l linter) lintMigrations(migrations []Migration, contracts []Contract, subjects []schemas.Subject) Problems {
	var problems Problems
	for _, m := range migrations {
		undecided := false
		for i, r := range m.Fields {
			if r.Decide != "" {
				undecided = true
				problems = append(problems, m.problem("/fields/"+strconv.Itoa(i), "undecided: "+strings.Join(strings.Fields(r.Decide), " "), "write the rule in its place"))
			}
		}
		found := m.lintProducts(contracts)
		problems = append(problems, found...)
		if l.migration == nil || len(found) > 0 || undecided {
			continue
		}
		var texts []string
		for _, id := range []string{m.From, m.To} {
			c, _ := Find(contracts, id)
			for _, s := range subjects {
				if s.Name != c.Subject {
					continue
				}
				// What a schema lacks is told with its contract.
				if text, err := schemas.SelfContainedAmong(s, subjects); err == nil {
					texts = append(texts, text)
				}
			}
		}
		if len(texts) < 2 {
			continue
		}
		for _, f := range l.migration(m, texts[0], texts[1]) {
			pointer := "/fields"
			if f.Rule >= 0 {
				pointer += "/" + strconv.Itoa(f.Rule)
			}
			problems = append(problems, m.problem(pointer, strings.ReplaceAll(f.What, "\n", "; "), f.Do))
		}
	}
	return problems
}

// lintProducts looks at the two products that the file names.
func (m Migration) lintProducts(contracts []Contract) Problems {
	from, ok := Find(contracts, m.From)
	if !ok {
		return Problems{m.problem("/from", fmt.Sprintf("product %s has no contract", m.From), "write the id of a contract")}
	}
	to, ok := Find(contracts, m.To)
	if !ok {
		return Problems{m.problem("/to", fmt.Sprintf("product %s has no contract", m.To), "add contracts/"+path.Dir(m.File)+"/"+m.To+".yaml")}
	}
	if to.before() != from.ID {
		return Problems{m.problem("/to", fmt.Sprintf("%s is not the next major version of %s", to.ID, from.ID), "a migration leads from one major version to the next")}
	}
	if m.JoinAt != nil && len(m.JoinAt.Offsets) != from.Topic.Partitions {
		return Problems{m.problem("/joinAt/offsets", fmt.Sprintf("%d offsets, %s has %d partitions", len(m.JoinAt.Offsets), from.ID, from.Topic.Partitions), "leave it to the tool that writes it")}
	}
	return nil
}
