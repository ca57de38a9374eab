// Package semantics compares two versions of a data product and names what no registry sees: changes of meaning that the
// compatibility rules let through, and promises of the contract that become weaker. It is pure: schemas and contracts in,
// findings and SQL out.
package semantics

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/contract/rule"
)

// Finding is one change that somebody may not have meant.
type Finding struct {
	Rule     rule.Rule
	Severity rule.Severity
	// Path of the field by name as the base calls it, "bids[].price"; empty for the product as a whole. A type that is used
	// in several places has one finding: Path is the first place, Paths are all of them (at most maxPlaces).
	Path  string
	Paths []string
	// Reason is one sentence with names and values; Do is what to do instead.
	Reason, Do string
	// Readers are the declared groups that read what changed, sorted.
	Readers []string
	// Hash of the change, for a waiver: it depends on product, rule, place and values, on nothing else. Empty for what
	// cannot be waived.
	Hash string
	// WaivedBy is the waiver's file below contracts/, when one holds.
	WaivedBy string
}

// Stops tells whether the finding stops the change.
func (f Finding) Stops() bool { return f.Severity == rule.Breaking && f.WaivedBy == "" }

// Product is one version of a data product.
type Product struct {
	Contract contract.Contract
	// Schema of the values, references resolved.
	Schema *avro.Schema
	// Key is the schema of the keys; nil where keys are plain text.
	Key *avro.Schema
}

// Compare lists what differs between two versions of a product and deserves a look, in the order of schema, contract and
// table. Severities come from the base's contract. readers are the declared groups; those that do not read the product are
// ignored.
func Compare(base, next Product, readers []contract.Consumer) []Finding {
	c := comparison{product: base.Contract.ID, severities: base.Contract.Severities, readers: readers}
	c.schemas(base.Schema, next.Schema)
	c.keys(base.Key, next.Key)
	c.contracts(base, next)
	c.sinks(base, next)
	return c.found
}

// CompareSchemas is the part of Compare that needs no contract. subject stands for the product in messages and hashes: a
// shared type's full name, for example.
func CompareSchemas(subject string, base, next *avro.Schema, readers []contract.Consumer) []Finding {
	c := comparison{product: subject, shared: true, readers: readers}
	c.schemas(base, next)
	return c.found
}

// Added judges a product that the base does not have, base being the base's contracts.
func Added(next contract.Contract, base []contract.Contract) []Finding {
	c := comparison{product: next.ID}
	if r, what, do := next.CheckNewVersion(base); r != "" {
		c.add(change{rule: r, from: "", to: next.Version, what: what, do: do})
	}
	return c.found
}

// Removed judges a product whose contract is gone.
func Removed(base contract.Contract, readers []contract.Consumer) []Finding {
	c := comparison{product: base.ID, severities: base.Severities, readers: readers}
	c.retired(base, "its contract is gone")
	return c.found
}

type comparison struct {
	product string
	// shared: the product is a type of its own, without a contract and so without major versions.
	shared     bool
	severities rule.Overrides
	readers    []contract.Consumer
	found      []Finding
}

// change is a finding in the making.
type change struct {
	rule rule.Rule
	// scope and path say where, for the hash: a named type and the place within it, or nothing and a place of the contract.
	scope, path string
	// places are where a reader meets it.
	places []string
	// from and to are the values in a form that does not depend on how they are written.
	from, to string
	what, do string
	readers  []string
}

func (c *comparison) add(ch change) {
	f := Finding{
		Rule: ch.rule, Severity: c.severities.Of(ch.rule), Paths: ch.places, Reason: ch.what, Do: ch.do, Readers: ch.readers,
		Hash: hash(c.product, string(ch.rule), ch.scope, ch.path, ch.from, ch.to),
	}
	if len(ch.places) > 0 {
		f.Path = ch.places[0]
	}
	if f.Readers == nil && ch.rule.ConcernsReaders() {
		f.Readers = c.readersOf(f.Paths...)
	}
	c.found = append(c.found, f)
}

func hash(parts ...string) string {
	sum := sha256.New()
	for _, p := range parts {
		// The length keeps "ab","c" and "a","bc" apart.
		fmt.Fprintf(sum, "%d:%s\n", len(p), p)
	}
	return "change-" + hex.EncodeToString(sum.Sum(nil)[:8])
}

// readersOf lists the declared groups that read one of the places; without a place, all that read the product.
func (c *comparison) readersOf(places ...string) []string {
	var groups []string
	for _, r := range c.readers {
		for _, read := range r.Reads {
			if read.Product == c.product && (len(places) == 0 || touchesAny(read.Fields, places)) {
				groups = append(groups, r.Group)
			}
		}
	}
	slices.Sort(groups)
	return slices.Compact(groups)
}

func touchesAny(fields, places []string) bool {
	return slices.ContainsFunc(fields, func(f string) bool {
		return slices.ContainsFunc(places, func(p string) bool { return p == "" || contract.Touches(f, p) })
	})
}

// newMajor is the way out that is always open.
func (c *comparison) newMajor() string {
	if c.shared {
		return "make a new type beside " + c.product
	}
	return "make a new major version of " + c.product
}

// named lists words for a sentence: "a", "a and b", "a, b and c".
func named(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}
