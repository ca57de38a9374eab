// Package convert runs the migration of a product to its next major version on a cluster: the converter that writes the one
// version's records into the other's topic, the comparison of both, the move of a consumer group from one to the other, the
// offsets at which the rows of both are joined, and the question who still lives on the earlier version.
package convert

import (
	"fmt"
	"path"
	"strings"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/governance/migration"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// Direction of a conversion.
type Direction string

// The directions: up while the earlier version is the origin, down once the later one is.
const (
	Up   Direction = "up"
	Down Direction = "down"
)

// Side is one of the two versions.
type Side struct {
	contract.Contract
	// Schema of this build, and its self-contained text.
	Schema schemas.Subject
	Text   string
}

// Pair is a migration with the two versions that it leads between.
type Pair struct {
	Migration contract.Migration
	From, To  Side
	mapping   *migration.Mapping
}

// Cluster is where a migration takes place.
type Cluster struct {
	Kafka    kafka.ClientConfig
	Admin    *kafka.Admin
	Registry *registry.Client
}

// NewPair finds the migration that leads to a product, given by its id or by the migration's file, and compiles it.
func NewPair(name string, contracts []contract.Contract, migrations []contract.Migration, subjects []schemas.Subject) (*Pair, error) {
	to := strings.TrimSuffix(path.Base(name), ".migration.yaml")
	var known []string
	for _, m := range migrations {
		if m.To == to {
			return newPair(m, contracts, subjects)
		}
		known = append(known, m.To)
	}
	if len(known) == 0 {
		return nil, fmt.Errorf("no migration leads to %s, and there is no other; add contracts/<domain>/%s.migration.yaml", to, to)
	}
	return nil, fmt.Errorf("no migration leads to %s, only to %s; add contracts/<domain>/%s.migration.yaml", to, strings.Join(known, ", "), to)
}

func newPair(m contract.Migration, contracts []contract.Contract, subjects []schemas.Subject) (*Pair, error) {
	p := &Pair{Migration: m}
	for side, id := range map[*Side]string{&p.From: m.From, &p.To: m.To} {
		var ok bool
		if side.Contract, ok = contract.Find(contracts, id); !ok {
			return nil, fmt.Errorf("contracts/%s: product %s has no contract", m.File, id)
		}
		for _, s := range subjects {
			if s.Name == side.Subject {
				side.Schema = s
			}
		}
		var err error
		if side.Text, err = schemas.SelfContainedAmong(side.Schema, subjects); err != nil || side.Schema.Name == "" {
			return nil, fmt.Errorf("contracts/%s: no usable schema of subject %s: %w", m.File, side.Subject, err)
		}
	}
	var err error
	if p.mapping, err = migration.Compile(m, p.From.Text, p.To.Text); err != nil {
		return nil, fmt.Errorf("contracts/%s: %w", m.File, err)
	}
	return p, nil
}

// sides are where a direction reads and where it writes, and what it makes of a body.
func (p *Pair) sides(d Direction) (source, target *Side, convert func(dst, body []byte) ([]byte, error)) {
	if d == Down {
		return &p.To, &p.From, p.mapping.Down
	}
	return &p.From, &p.To, p.mapping.Up
}

// Group is the consumer group of a direction's converter.
func (p *Pair) Group(d Direction) string { return groupOf(p.Migration, d) }

func groupOf(m contract.Migration, d Direction) string { return "convert." + m.To + "." + string(d) }
