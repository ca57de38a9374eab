// Package registrybase lets the check compare with what a schema registry holds. It stands apart so that a check from git
// alone, which a newcomer's first try builds, need not compile a client of HTTP and its metrics.
package registrybase

import (
	"context"

	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/governance/check"
	"github.com/streamforge/streamforge/services/internal/governance/history"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// base asks a registry in the check's words.
type base struct{ client *registry.Client }

// New makes the base of a check from a client, which stays the caller's to close.
func New(client *registry.Client) check.Registry { return base{client} }

func (b base) URL() string { return b.client.URL() }

func (b base) LiveVersions(ctx context.Context, subject string) ([]history.Version, error) {
	held, err := b.client.LiveVersions(ctx, subject)
	versions := make([]history.Version, len(held))
	for i, s := range held {
		versions[i] = version(s)
	}
	return versions, err
}

func (b base) Version(ctx context.Context, subject string, number int) (history.Version, error) {
	s, err := b.client.Version(ctx, subject, number)
	return version(s), err
}

func (b base) Compatibility(ctx context.Context, subject string) (avro.Level, bool, error) {
	return b.client.Compatibility(ctx, subject)
}

func (b base) GlobalCompatibility(ctx context.Context) (avro.Level, error) {
	return b.client.GlobalCompatibility(ctx)
}

func version(s registry.Schema) history.Version {
	v := history.Version{Number: s.Version, Text: s.Raw}
	for _, r := range s.References {
		v.References = append(v.References, history.Reference(r))
	}
	return v
}
