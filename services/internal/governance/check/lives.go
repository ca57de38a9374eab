package check

import (
	"slices"

	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/governance/evidence"
)

// Undeclared is a group that lives on a product by a snapshot and that no file declares: what it reads nobody knows.
type Undeclared struct {
	Group string `json:"group"`
	// Life is "live on 2026-11-22", or how long ago it read.
	Life    string `json:"life"`
	Cluster string `json:"cluster"`
}

// Written is a version of the schema among the newest records of a cluster: an old one means that a producer has not
// followed yet.
type Written struct {
	// Version in the subject; 0 for an id that does not belong to it.
	Version  int `json:"version,omitempty"`
	SchemaID int `json:"schemaId"`
	// LastWritten is the day of the newest record with it; Today tells that it is the snapshot's own.
	LastWritten string `json:"lastWritten"`
	Today       bool   `json:"today,omitempty"`
	// Producers by the records' header, none when they name none.
	Producers []string `json:"producers,omitempty"`
	Cluster   string   `json:"cluster"`
}

// lives adds to a subject what the snapshots say of it. It is the one place where evidence meets a judgement: the terminal,
// JSON and the comment show what it found.
func (j judging) lives(out *Subject) {
	if out.Product == "" {
		return
	}
	for i := range out.Readers {
		r := &out.Readers[i]
		r.Live = evidence.Live(j.tree.evidence, out.Product, r.Group)
	}
	for _, s := range j.tree.evidence {
		p, _ := s.Find(out.Product)
		for _, g := range p.Groups {
			if !declared(j.readers, out.Product, g.Group) {
				out.Undeclared = append(out.Undeclared, Undeclared{Group: g.Group, Life: s.Life(g), Cluster: s.Cluster})
			}
		}
		for _, v := range p.Versions {
			out.Written = append(out.Written, Written{
				Version: v.Version, SchemaID: v.SchemaID, LastWritten: v.LastWritten, Today: v.LastWritten == s.Date, Producers: v.Producers, Cluster: s.Cluster,
			})
		}
	}
}

func declared(readers []contract.Consumer, product, group string) bool {
	return slices.ContainsFunc(readers, func(c contract.Consumer) bool {
		return c.Group == group && slices.ContainsFunc(c.Reads, func(r contract.Read) bool { return r.Product == product })
	})
}
