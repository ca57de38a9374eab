package governance

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// sharedLevel is the level of the types that several schemas use: they have no contract of their own, and every product's
// promise rests on them.
const sharedLevel = avro.LevelFullTransitive

// planRegistry compares subjects and their levels, a shared type before its users.
func (g *Governance) planRegistry(ctx context.Context, p *Plan) error {
	if g.deps.Registry == nil {
		p.note("schema registry", "not asked, subjects and levels are left out")
		return nil
	}
	for _, s := range g.deps.Subjects {
		wanted, err := g.levelOf(s)
		if err != nil {
			return err
		}
		if err := g.planSubject(ctx, p, s, wanted); err != nil {
			return err
		}
	}
	return nil
}

func (g *Governance) levelOf(s schemas.Subject) (avro.Level, error) {
	for _, c := range g.deps.Contracts {
		if c.Subject == s.Name {
			return avro.ParseLevel(c.Compatibility)
		}
	}
	return sharedLevel, nil
}

func (g *Governance) planSubject(ctx context.Context, p *Plan, s schemas.Subject, wanted avro.Level) error {
	_, err := g.deps.Registry.Lookup(ctx, s)
	registered := err == nil
	if err != nil && !errors.Is(err, registry.ErrNotRegistered) {
		return err
	}
	level, own, err := g.deps.Registry.Compatibility(ctx, s.Name)
	if err != nil {
		return err
	}
	// Apicurio says NONE for a subject without a level of its own; that is as good as none.
	if own && level == avro.LevelNone && wanted != avro.LevelNone {
		own = false
	}
	set := Step{Kind: KindCompatibility, Action: ActionSet, Object: s.Name, To: string(wanted), What: "set to " + string(wanted)}
	if own {
		set.From, set.What = string(level), fmt.Sprintf("%s → %s", level, wanted)
	}
	register := Step{Kind: KindSubject, Action: ActionRegister, Object: s.Name, What: "register schemas/" + s.Path}
	levelChanges := !own || level != wanted
	if !registered {
		versions, err := g.deps.Registry.LiveVersions(ctx, s.Name)
		if err != nil {
			return err
		}
		if len(versions) > 0 {
			register.From, register.To = fmt.Sprintf("version %d", versions[len(versions)-1].Version), "a new version"
			register.What += fmt.Sprintf(" as the version after %d", versions[len(versions)-1].Version)
			if ok, err := g.compatible(p, s, wanted, versions); !ok || err != nil {
				return err
			}
		}
	}
	switch {
	case registered && !levelChanges:
		p.Unchanged += 2
	case registered:
		p.Unchanged++
		p.step(set)
	case !levelChanges:
		p.Unchanged++
		p.step(register)
	case own && !implies(wanted, level):
		// The level loosens (or turns): the schema may only pass afterwards.
		p.step(set)
		p.step(register)
	default:
		// The level tightens, or the subject is new: a registry may not know a level for a subject without versions.
		p.step(register)
		p.step(set)
	}
	return nil
}

// implies tells whether level a demands everything that b does.
func implies(a, b avro.Level) bool {
	if b == avro.LevelNone {
		return true
	}
	return (a.Backward() || !b.Backward()) && (a.Forward() || !b.Forward()) && (a.Transitive() || !b.Transitive())
}

// compatible checks a new version against all that live, at the contract's level, with the same engine as the offline
// check, and refuses the plan when it is not.
func (g *Governance) compatible(p *Plan, s schemas.Subject, wanted avro.Level, versions []registry.Schema) (bool, error) {
	text, err := g.selfContained(s)
	if err != nil {
		return false, err
	}
	candidate, err := avro.Parse(text, nil)
	if err != nil {
		return false, fmt.Errorf("schemas/%s: %w", s.Path, err)
	}
	var earlier []avro.Version
	for _, v := range versions {
		old, err := avro.Parse(v.Text, nil, avro.KeepInvalidDefaults())
		if err != nil {
			return false, fmt.Errorf("subject %s version %d in the registry: %w", s.Name, v.Version, err)
		}
		earlier = append(earlier, avro.Version{Number: v.Version, Schema: old})
	}
	failed := wanted.CheckAll(candidate, earlier)
	if len(failed) == 0 {
		return true, nil
	}
	var details []string
	for _, verdict := range failed {
		for _, found := range slices.Concat(verdict.Backward, verdict.Forward) {
			details = append(details, fmt.Sprintf("version %d: %s at %s: %s", verdict.Version.Number, found.Type, found.Location, found.Message))
		}
	}
	p.refuse(KindSubject, s.Name, fmt.Sprintf("schemas/%s is incompatible at level %s with %d live version(s)", s.Path, wanted, len(failed)),
		"give new fields a default and keep the old ones, or make a new major version: a new topic", details...)
	return false, nil
}

func (g *Governance) selfContained(s schemas.Subject) (string, error) {
	byName := make(map[string]string, len(g.deps.Subjects))
	for _, other := range g.deps.Subjects {
		byName[other.Name] = other.Text
	}
	return schemas.Inline(s.Text, func(fullName string) (string, bool) {
		text, ok := byName[fullName]
		return text, ok
	})
}
