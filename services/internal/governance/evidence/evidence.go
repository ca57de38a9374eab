// Package evidence is what lived on a cluster on one day, as a small file in the repository: which consumer groups stand on
// which product, and which versions of its schema, by which producers, are among the newest records. A pull request's
// check reads it offline, so that it can say whom a change breaks and not only whom it might.
//
// It is pure: package evidence/snapshot asks a cluster, and only that one needs cgo. A file holds no address, no host, no
// client id and no member id: it is public wherever the repository is.
package evidence

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Folder of the snapshots below contracts/, one <cluster>.json each.
const Folder = "evidence"

// maxFileBytes bounds what is read of a file: 10,000 groups fit into a tenth of it.
const maxFileBytes = 16 << 20

// Snapshot of one cluster.
type Snapshot struct {
	// Cluster is the name that people call it by; the file is named after it.
	Cluster string `json:"cluster"`
	// Date in UTC, 2026-11-22.
	Date string `json:"date"`
	// RecordsPerPartition is how many of the newest records of each partition were looked at.
	RecordsPerPartition int `json:"recordsPerPartition"`
	// Products sorted by name; only those that have a group or a record.
	Products []Product `json:"products"`
}

// Product is what lives on one data product.
type Product struct {
	Product string `json:"product"`
	// Groups that have committed an offset on its topic, sorted.
	Groups []Group `json:"groups"`
	// Versions of its schema among the newest records, sorted by schema id.
	Versions []Version `json:"versions"`
}

// Group is a consumer group with committed offsets.
type Group struct {
	Group string `json:"group"`
	// Members tells whether a consumer was in the group when the snapshot was taken.
	Members bool `json:"members"`
	// ReadUpTo is the day of the newest record before the group's committed offsets; empty when that is more than DaysBack
	// days ago.
	ReadUpTo string `json:"readUpTo,omitempty"`
}

// DaysBack is how far a snapshot looks for what a group has read.
const DaysBack = 30

// Version of a schema on the wire.
type Version struct {
	// Version in the product's subject; 0 for an id that does not belong to it.
	Version int `json:"version,omitempty"`
	// SchemaID as the records carry it.
	SchemaID int `json:"schemaId"`
	// LastWritten is the day of the newest record with it.
	LastWritten string `json:"lastWritten"`
	// Producers are the values of the header "producer" of the records with it, sorted.
	Producers []string `json:"producers"`
}

//go:embed evidence.schema.json
var form []byte

var compiled = sync.OnceValues(func() (*jsonschema.Schema, error) {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(form))
	if err != nil {
		return nil, fmt.Errorf("BUG: evidence.schema.json is not JSON: %w", err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("streamforge:evidence", document); err != nil {
		return nil, fmt.Errorf("BUG: evidence.schema.json: %w", err)
	}
	return compiler.Compile("streamforge:evidence")
})

// Load reads every evidence/<cluster>.json of a contracts folder, sorted by cluster. No folder is no evidence and no error.
func Load(contracts fs.FS) ([]Snapshot, error) {
	names, err := fs.Glob(contracts, Folder+"/*.json")
	if err != nil {
		return nil, fmt.Errorf("listing snapshots: %w", err)
	}
	sort.Strings(names)
	var all []Snapshot
	for _, name := range names {
		info, err := fs.Stat(contracts, name)
		if err != nil {
			return nil, fmt.Errorf("reading snapshot contracts/%s: %w", name, err)
		}
		if info.Size() > maxFileBytes {
			return nil, fmt.Errorf("snapshot contracts/%s has %d bytes, at most %d are read; take it again with fewer products", name, info.Size(), maxFileBytes)
		}
		text, err := fs.ReadFile(contracts, name)
		if err != nil {
			return nil, fmt.Errorf("reading snapshot contracts/%s: %w", name, err)
		}
		s, err := Parse(name, text)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// Parse reads one snapshot; name is its path below contracts/. The result is sorted whatever the file's order.
func Parse(name string, text []byte) (Snapshot, error) {
	var s Snapshot
	schema, err := compiled()
	if err != nil {
		return s, err
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return s, fmt.Errorf("snapshot contracts/%s is not JSON: %w; take it again with `streamforge evidence`", name, err)
	}
	if err := schema.Validate(document); err != nil {
		return s, fmt.Errorf("snapshot contracts/%s: %s; take it again with `streamforge evidence`", name, strings.Join(strings.Fields(err.Error()), " "))
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("snapshot contracts/%s: %w", name, err)
	}
	if base := strings.TrimSuffix(path.Base(name), ".json"); base != s.Cluster {
		return s, fmt.Errorf("snapshot contracts/%s is of cluster %q; the file is named after the cluster", name, s.Cluster)
	}
	if _, err := time.Parse(time.DateOnly, s.Date); err != nil {
		return s, fmt.Errorf("snapshot contracts/%s: %q is no day", name, s.Date)
	}
	s.sort()
	return s, nil
}

// Encode writes the file: sorted and indented, so that two snapshots of the same state are the same bytes. What the form
// does not allow is an error: a name that could carry an address never reaches the file.
func (s Snapshot) Encode() ([]byte, error) {
	s.sort()
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the snapshot of %s: %w", s.Cluster, err)
	}
	text = append(text, '\n')
	if _, err := Parse(Folder+"/"+s.Cluster+".json", text); err != nil {
		return nil, fmt.Errorf("the snapshot does not have its own form: %w", err)
	}
	return text, nil
}

func (s *Snapshot) sort() {
	s.Products = slices.Clone(s.Products)
	if s.Products == nil {
		s.Products = []Product{}
	}
	sort.Slice(s.Products, func(i, j int) bool { return s.Products[i].Product < s.Products[j].Product })
	for i := range s.Products {
		p := &s.Products[i]
		p.Groups = append([]Group{}, p.Groups...)
		sort.Slice(p.Groups, func(a, b int) bool { return p.Groups[a].Group < p.Groups[b].Group })
		p.Versions = append([]Version{}, p.Versions...)
		sort.Slice(p.Versions, func(a, b int) bool { return p.Versions[a].SchemaID < p.Versions[b].SchemaID })
		for j := range p.Versions {
			v := &p.Versions[j]
			v.Producers = append([]string{}, v.Producers...)
			sort.Strings(v.Producers)
			v.Producers = slices.Compact(v.Producers)
		}
	}
}

// Find returns what lives on a product, and false when nothing does.
func (s Snapshot) Find(product string) (Product, bool) {
	i := slices.IndexFunc(s.Products, func(p Product) bool { return p.Product == product })
	if i < 0 {
		return Product{}, false
	}
	return s.Products[i], true
}

// Find returns a group of the product, and false when it has committed nothing there.
func (p Product) Find(group string) (Group, bool) {
	i := slices.IndexFunc(p.Groups, func(g Group) bool { return g.Group == group })
	if i < 0 {
		return Group{}, false
	}
	return p.Groups[i], true
}

// Life of a group in words: "live on 2026-11-22", or how long ago it read. s is the snapshot that the group is from.
func (s Snapshot) Life(g Group) string {
	switch {
	case g.Members:
		return "live on " + s.Date
	case g.ReadUpTo != "":
		return "without a member on " + s.Date + ", has read up to " + g.ReadUpTo
	}
	return fmt.Sprintf("without a member on %s, has read nothing of the last %d days", s.Date, DaysBack)
}

// Live puts together what all snapshots say of a group on a product; empty when none knows it there.
func Live(snapshots []Snapshot, product, group string) string {
	var lives []string
	for _, s := range snapshots {
		p, ok := s.Find(product)
		if !ok {
			continue
		}
		if g, ok := p.Find(group); ok {
			lives = append(lives, s.Life(g)+" ("+s.Cluster+")")
		}
	}
	return strings.Join(lives, "; ")
}
