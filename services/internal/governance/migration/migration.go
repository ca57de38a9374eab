// Package migration makes a product's next major version executable: from a migration file and two schemas it compiles the
// mapping that turns the earlier version's bodies into the later's (Up) and back (Down), and the SQL of the view that joins
// both tables. A number is never rounded: what cannot be said exactly in the other version is that record's error.
package migration

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/contract"
)

// Migration is a migration file.
type Migration = contract.Migration

// Load reads every migration below contracts/ and compares the files with the contracts; contract.Lint with Judge also
// compares them with the schemas.
func Load(fsys fs.FS, contracts []contract.Contract) ([]Migration, error) {
	return contract.LoadMigrations(fsys, contracts)
}

// The two versions, as positions of everything that there is two of.
const (
	earlier = 0
	later   = 1
)

// Mapping between the bodies of two schemas. It is safe for concurrent use.
type Mapping struct {
	root *pair
	// texts of the two schemas.
	texts [2]string
}

// Faults are all that is wrong with a migration's rules.
type Faults []contract.RuleFault

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.What
		if fault.Do != "" {
			lines[i] += "; " + fault.Do
		}
	}
	return strings.Join(lines, "\n")
}

// Judge says what is wrong with the rules for the two self-contained schemas; contract.WithMigrations wants it.
func Judge(m Migration, from, to string) []contract.RuleFault {
	_, err := Compile(m, from, to)
	var faults Faults
	switch {
	case err == nil:
		return nil
	case errors.As(err, &faults):
		return faults
	}
	return []contract.RuleFault{{Rule: -1, What: err.Error()}}
}

// Compile makes the mapping from the texts of the two self-contained schemas. The error is Faults where the rules do not
// account for every field: each of the earlier version has a counterpart or is dropped, each of the later gets a value, and
// what Down cannot know has a default.
func Compile(m Migration, from, to string) (*Mapping, error) {
	c := compiler{migration: m, used: make([]bool, len(m.Fields)), open: map[[2]*avro.Schema]*pair{}}
	schemas := [2]*avro.Schema{}
	for side, text := range []string{from, to} {
		var err error
		if schemas[side], err = avro.Parse(text, nil, avro.KeepInvalidDefaults()); err != nil {
			return nil, err
		}
	}
	root := c.pair(schemas, [2]string{}, [2]*avro.Field{})
	for i, used := range c.used {
		if undecided := m.Fields[i].Decide; undecided != "" {
			c.fault(i, "undecided: "+undecided, "write the rule in its place")
		} else if !used {
			c.fault(i, "the rule applies to nothing", "look at the paths: those of rename's from and of drop are "+m.From+"'s, all others "+m.To+"'s")
		}
	}
	if len(c.faults) > 0 {
		return nil, c.faults
	}
	return &Mapping{root: root, texts: [2]string{from, to}}, nil
}

// Up turns a body of the earlier version, without the wire format's header, into one of the later, and appends it to dst. The
// error is the record's: a body that is damaged, or a value that the later version cannot hold.
func (m *Mapping) Up(dst, body []byte) ([]byte, error) { return m.convert(later, dst, body) }

// Down is Up the other way round.
func (m *Mapping) Down(dst, body []byte) ([]byte, error) { return m.convert(earlier, dst, body) }
