package contract

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Producer declares what a program writes: whose right it is, and nobody else's.
type Producer struct {
	// Name of the program.
	Name string `json:"producer"`
	// Owner is the team to ask; Principal is who the broker sees ("User:parser").
	Owner     string
	Principal string
	// Writes lists products.
	Writes []string
	// TransactionalIDs is what the program's transactional ids begin with; empty for one that writes without transactions.
	TransactionalIDs string

	// File is the path below contracts/.
	File string

	declaration
}

// LoadProducers reads producers/<program>.yaml and compares them with the contracts and the declared consumers, sorted by
// program. The error is Problems.
func LoadProducers(fsys fs.FS, contracts []Contract, consumers []Consumer) ([]Producer, error) {
	all, problems, err := loadProducers(fsys)
	if err != nil {
		return nil, err
	}
	return all, append(problems, lintProducers(all, contracts, consumers)...).Err()
}

func loadProducers(fsys fs.FS) ([]Producer, Problems, error) {
	return loadEach(fsys, "producer", "producers/*.yaml", ParseProducer)
}

// ParseProducer reads one declaration; name is its path below contracts/.
func ParseProducer(name string, text []byte) (Producer, Problems) {
	var p Producer
	var problems Problems
	if p.declaration, problems = declare("producer", name, text, &p); len(problems) > 0 {
		return Producer{}, problems
	}
	p.File = name
	if base := p.base(); base != p.Name {
		problems = append(problems, p.problem("/producer", fmt.Sprintf("producer is %q, the file is named %s.yaml", p.Name, base), "the file is named after the program"))
	}
	return p, problems
}

// lintProducers compares declarations with the contracts, with the consumer of the same name, and with each other: two
// programs with one prefix of transactional ids could throw each other out.
func lintProducers(producers []Producer, contracts []Contract, consumers []Consumer) Problems {
	var problems Problems
	for i, p := range producers {
		for j, product := range p.Writes {
			if _, ok := Find(contracts, product); !ok {
				problems = append(problems, p.problem(fmt.Sprintf("/writes/%d", j), fmt.Sprintf("product %s has no contract", product), "write the id of a contract"))
			}
		}
		k := slices.IndexFunc(consumers, func(c Consumer) bool { return c.Group == p.Name })
		if k >= 0 && consumers[k].Principal != p.Principal {
			problems = append(problems, p.problem("/principal", fmt.Sprintf("principal is %s, in contracts/%s it is %s", p.Principal, consumers[k].File, consumers[k].Principal), "write the same in both"))
		}
		for _, other := range producers[:i] {
			a, b := p.TransactionalIDs, other.TransactionalIDs
			if a != "" && b != "" && other.Principal != p.Principal && (strings.HasPrefix(a, b) || strings.HasPrefix(b, a)) {
				problems = append(problems, p.problem("/transactionalIds", fmt.Sprintf("the ids of %s begin with %q, those of %s with %q", p.Name, a, other.Name, b), "choose prefixes of which none begins with the other"))
			}
		}
	}
	return problems
}
