package contract

import (
	"fmt"
	"io/fs"
	"slices"
	"sort"
	"strings"

	"github.com/streamforge/streamforge/services/internal/avro"
)

// Consumer declares what a group reads: who breaks when a field changes.
type Consumer struct {
	// Group is the consumer group, or the program's name where it reads without a group.
	Group string
	// Owner is the team to ask; Principal is who the broker sees ("User:parser").
	Owner     string
	Principal string
	Reads     []Read

	// View says that this is a view, which reads the product's table and no topic: it has no principal.
	View bool `json:"-"`

	// File is the path below contracts/; empty for a group that follows from a sink.
	File string

	declaration
}

// Read is one product that a group reads.
type Read struct {
	Product string
	// SchemaVersion is the version of the subject that the reader was written against.
	SchemaVersion int
	// Fields by path: "frame.offset", an array's items "bids[].price", a map's values "labels{}.text".
	Fields []string
}

// LoadConsumers reads consumers/<group>.yaml and adds the writer's groups, one for each contract with a sink, which read
// every field, and the views over tables. The error is Problems. Whether the declared fields exist is Lint's to say: who asks which readers a removed
// field breaks has to see those that still name it.
func LoadConsumers(fsys fs.FS, contracts []Contract) ([]Consumer, error) {
	declared, problems, err := loadConsumers(fsys)
	if err != nil {
		return nil, err
	}
	if err := problems.Err(); err != nil {
		return nil, err
	}
	for _, c := range contracts {
		if !c.Sinks() {
			continue
		}
		read := Read{Product: c.ID, SchemaVersion: 1}
		for _, f := range c.Fields {
			read.Fields = append(read.Fields, f.Name)
		}
		declared = append(declared, Consumer{Group: WriterGroup(c.Topic.Name), Owner: "platform", Principal: "User:writer", Reads: []Read{read}})
	}
	views, problems, err := loadViews(fsys)
	if err != nil {
		return nil, err
	}
	if err := problems.Err(); err != nil {
		return nil, err
	}
	declared = append(declared, readers(views)...)
	sort.Slice(declared, func(i, j int) bool { return declared[i].Group < declared[j].Group })
	return declared, nil
}

func loadConsumers(fsys fs.FS) ([]Consumer, Problems, error) {
	return loadEach(fsys, "consumer", "consumers/*.yaml", ParseConsumer)
}

// ParseConsumer reads one declaration; name is its path below contracts/.
func ParseConsumer(name string, text []byte) (Consumer, Problems) {
	var c Consumer
	var problems Problems
	if c.declaration, problems = declare("consumer", name, text, &c); len(problems) > 0 {
		return Consumer{}, problems
	}
	c.File = name
	if base := c.base(); base != c.Group {
		problems = append(problems, c.problem("/group", fmt.Sprintf("group is %q, the file is named %s.yaml", c.Group, base), "the file is named after the group"))
	}
	if strings.HasPrefix(c.Group, WriterGroup("")) {
		problems = append(problems, c.problem("/group", "the writer's groups follow from the sinks", "remove the file"))
	}
	if strings.HasPrefix(c.Group, ViewReader("")) {
		problems = append(problems, c.problem("/group", "names that begin with "+ViewReader("")+" are those of views", "choose another"))
	}
	return c, problems
}

// lintConsumers compares declarations with the contracts, and with the declared version of the schema where it is known.
func (l linter) lintConsumers(consumers []Consumer, contracts []Contract) Problems {
	var problems Problems
	for _, c := range consumers {
		var seen []string
		for i, r := range c.Reads {
			at := fmt.Sprintf("/reads/%d", i)
			product, ok := Find(contracts, r.Product)
			if !ok {
				problems = append(problems, c.problem(at+"/product", fmt.Sprintf("product %s has no contract", r.Product), "write the id of a contract"))
				continue
			}
			if slices.Contains(seen, r.Product) {
				problems = append(problems, c.problem(at+"/product", fmt.Sprintf("product %s stands twice", r.Product), "keep one"))
			}
			seen = append(seen, r.Product)
			problems = append(problems, l.lintRead(c, r, at, product)...)
		}
	}
	return problems
}

func (l linter) lintRead(c Consumer, r Read, at string, product Contract) Problems {
	if l.versions != nil {
		if versions := l.versions(product.Subject); len(versions) > 0 {
			return c.lintReadVersion(r, at, product.Subject, versions)
		}
	}
	var problems Problems
	for j, name := range r.Fields {
		if findField(product.Fields, name) == nil {
			problems = append(problems, c.problem(fmt.Sprintf("%s/fields/%d", at, j), fmt.Sprintf("%s has no field %s", r.Product, name), "see contracts/"+product.File))
		}
	}
	return problems
}

// lintReadVersion looks for the fields in the version that the reader was written against: a later one may have lost them,
// which is no fault of the declaration.
func (c Consumer) lintReadVersion(r Read, at, subject string, versions []*avro.Schema) Problems {
	if r.SchemaVersion > len(versions) {
		return Problems{c.problem(at+"/schemaVersion", fmt.Sprintf("version %d of %s does not exist", r.SchemaVersion, subject),
			fmt.Sprintf("write a version from 1 to %d", len(versions)))}
	}
	var problems Problems
	for j, name := range r.Fields {
		if _, err := FieldAt(versions[r.SchemaVersion-1], name); err != nil {
			problems = append(problems, c.problem(fmt.Sprintf("%s/fields/%d", at, j), fmt.Sprintf("version %d of %s has no field %s", r.SchemaVersion, subject, name),
				fmt.Sprintf("write another of the %d versions, or another field", len(versions))))
		}
	}
	return problems
}
