package scaffold

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/contract"
)

// Catalog is what a working tree offers to consumers, and which names are taken in it.
type Catalog struct {
	// Root is the working tree's folder.
	Root string
	// Version tells the number of a subject's schema in the working tree, as a registry numbers it.
	Version func(subject string) (int, error)

	contracts []contract.Contract
	consumers []contract.Consumer
	producers []contract.Producer
	subjects  []schemas.Subject
}

// Load reads contracts and schemas of a working tree. version tells the number under which a registry has, or would have,
// the working tree's schema of a subject.
func Load(root string, version func(subject string) (int, error)) (*Catalog, error) {
	if _, err := os.Stat(filepath.Join(root, "contracts")); err != nil {
		return nil, fmt.Errorf("%s is no working tree of the platform: %w; run this in one, or say --root", root, err)
	}
	c := &Catalog{Root: root, Version: version}
	var err error
	if c.contracts, err = contract.Load(os.DirFS(filepath.Join(root, "contracts"))); err != nil {
		return nil, err
	}
	if c.consumers, err = contract.LoadConsumers(os.DirFS(filepath.Join(root, "contracts")), c.contracts); err != nil {
		return nil, err
	}
	if c.producers, err = contract.LoadProducers(os.DirFS(filepath.Join(root, "contracts")), c.contracts, c.consumers); err != nil {
		return nil, err
	}
	c.subjects, err = schemas.Load(os.DirFS(filepath.Join(root, "schemas")))
	return c, err
}

// taken says what has the name already; "" when nothing has.
func (c *Catalog) taken(name string) string {
	if slices.Contains(reserved, name) {
		return "services/" + name + " is no program's folder"
	}
	if _, err := os.Lstat(filepath.Join(c.Root, "services", name)); !errors.Is(err, fs.ErrNotExist) {
		return "services/" + name + " exists"
	}
	for _, consumer := range c.consumers {
		if consumer.Group == name {
			return fmt.Sprintf("the consumer group is declared in contracts/%s by %s", consumer.File, consumer.Owner)
		}
	}
	for _, producer := range c.producers {
		if producer.Name == name {
			return fmt.Sprintf("a program of that name is declared in contracts/%s by %s", producer.File, producer.Owner)
		}
		// The broker grants transactional ids by prefix: of two prefixes none may begin with the other.
		own, other := transactionalIDs(name), producer.TransactionalIDs
		if other != "" && (strings.HasPrefix(own, other) || strings.HasPrefix(other, own)) {
			return fmt.Sprintf("its transactional ids would begin with %s, and those of %s with %s", own, producer.Name, other)
		}
	}
	return ""
}

// transactionalIDs is what the ids of a program begin with.
func transactionalIDs(name string) string { return name + "-" }

// topics that can be read.
func (c *Catalog) topics() []string {
	names := make([]string, 0, len(c.contracts))
	for _, product := range c.contracts {
		names = append(names, product.Topic.Name)
	}
	return names
}

// product is a data product with the schema to read it by.
type product struct {
	contract.Contract
	// Text is the self-contained schema, indented; Version its number.
	Text    string
	Version int
	schema  *avro.Schema
}

func (c *Catalog) product(topic string) (product, error) {
	i := slices.IndexFunc(c.contracts, func(p contract.Contract) bool { return p.Topic.Name == topic || p.ID == topic })
	if i < 0 {
		return product{}, fmt.Errorf("topic %q has no contract: there are %s%s", topic, strings.Join(c.topics(), ", "), c.meant(topic))
	}
	p := product{Contract: c.contracts[i]}
	text, err := c.selfContained(p.Subject)
	if err != nil {
		return product{}, err
	}
	if p.schema, err = avro.Parse(text, nil); err != nil {
		return product{}, fmt.Errorf("schema of %s: %w", p.Subject, err)
	}
	if p.schema.Type != avro.Record {
		return product{}, fmt.Errorf("schema of %s is of type %s: typed events are made of records only", p.Subject, p.schema.Type.Name())
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, []byte(p.schema.SelfContained()), "", "  "); err != nil {
		return product{}, fmt.Errorf("schema of %s: %w", p.Subject, err)
	}
	p.Text = indented.String() + "\n"
	return p, nil
}

// version is asked for once the request is known to be right: it may take a while, or a word to the user.
func (c *Catalog) version(subject string) (int, error) {
	if c.Version == nil {
		return 1, nil
	}
	return c.Version(subject)
}

// meant names the topic that was probably meant: raw_trades, RawTrades and raw-trade are raw-trades.
func (c *Catalog) meant(topic string) string {
	bare := func(s string) string {
		return strings.TrimSuffix(strings.NewReplacer("_", "", "-", "", ".", "").Replace(strings.ToLower(s)), "s")
	}
	for _, name := range c.topics() {
		if bare(name) == bare(topic) {
			return "; " + name + " is meant, perhaps"
		}
	}
	return ""
}

// selfContained writes the types that a subject's schema refers to out.
func (c *Catalog) selfContained(subject string) (string, error) {
	texts := map[string]string{}
	for _, s := range c.subjects {
		texts[s.Name] = s.Text
	}
	text, ok := texts[subject]
	if !ok {
		return "", fmt.Errorf("subject %s has no schema below schemas/; add schemas/<domain>/%s.avsc", subject, strings.TrimSuffix(subject, "-value"))
	}
	return schemas.Inline(text, func(name string) (string, bool) {
		text, ok := texts[name]
		return text, ok
	})
}
