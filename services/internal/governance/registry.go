package governance

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// planRegistry compares subjects and their levels, a shared type before its users.
func (g *Governance) planRegistry(ctx context.Context, p *Plan) error {
	if g.deps.Registry == nil {
		p.note(KindSubject, "", "the schema registry was not asked, subjects and levels are left out")
		return nil
	}
	for _, s := range g.deps.Subjects {
		if slices.ContainsFunc(g.deps.Contracts, func(c contract.Contract) bool { return c.Subject == s.Name && c.Retired() }) {
			continue
		}
		wanted, err := g.levelOf(s)
		if err != nil {
			return err
		}
		if err := g.planSubject(ctx, p, s, wanted); err != nil {
			return err
		}
	}
	all, err := g.deps.Registry.Subjects(ctx)
	if err != nil {
		return err
	}
	slices.Sort(all)
	for _, name := range all {
		if _, err := g.subject(name); err != nil {
			p.note(KindSubject, name, "no contract names it and no schema here is of it; it is left alone")
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
	return contract.SharedTypeLevel, nil
}

func (g *Governance) planSubject(ctx context.Context, p *Plan, s schemas.Subject, wanted avro.Level) error {
	found, err := g.deps.Registry.Lookup(ctx, s)
	registered := err == nil
	if err != nil && !errors.Is(err, registry.ErrNotRegistered) {
		return err
	}
	level, own, err := g.deps.Registry.Compatibility(ctx, s.Name)
	if err != nil {
		return err
	}
	set := Step{Kind: KindCompatibility, Action: ActionSet, Object: s.Name, To: string(wanted), What: "set to " + string(wanted)}
	if own {
		set.From, set.What = string(level), fmt.Sprintf("%s → %s", level, wanted)
	}
	levelChanges := !own || level != wanted
	if registered {
		p.Unchanged++
		if levelChanges {
			p.step(set)
		} else {
			p.Unchanged++
		}
		return g.noteNewer(ctx, p, s, found.Version)
	}
	versions, err := g.deps.Registry.LiveVersions(ctx, s.Name)
	if err != nil {
		return err
	}
	register, err := g.registerStep(s, versions)
	if err != nil {
		return err
	}
	if ok, err := g.writable(ctx, p, s); !ok || err != nil {
		return err
	}
	if len(versions) == 0 && own && level == avro.LevelNone {
		// So Apicurio says of every subject that has no level of its own.
		set.From, set.What = "", "set to "+string(wanted)
	}
	levelFirst := false
	if len(versions) > 0 {
		var ok bool
		if levelFirst, ok, err = g.order(ctx, p, s, level, own, wanted, versions); !ok || err != nil {
			return err
		}
	}
	switch {
	case !levelChanges:
		p.Unchanged++
		p.step(register)
	case levelFirst:
		// The level loosens: the schema may only pass afterwards.
		p.step(set)
		p.step(register)
	default:
		// The level tightens, or turns and the schema satisfies both; or the subject is new: a registry may not know a level
		// for a subject without versions.
		p.step(register)
		p.step(set)
	}
	return nil
}

// registerStep names the schema by its hash: a plan that was read is not applied by a build that has another one.
func (g *Governance) registerStep(s schemas.Subject, live []registry.Schema) (Step, error) {
	text, err := g.selfContained(s)
	if err != nil {
		return Step{}, err
	}
	sum := sha256.Sum256([]byte(text))
	step := Step{Kind: KindSubject, Action: ActionRegister, Object: s.Name, What: "register schemas/" + s.Path, Schema: hex.EncodeToString(sum[:])}
	if len(live) > 0 {
		latest := live[len(live)-1].Version
		step.From, step.To = fmt.Sprintf("version %d", latest), "a new version"
		step.What += fmt.Sprintf(" as the version after %d", latest)
	}
	return step, nil
}

// noteNewer tells of versions behind the one that this build has: somebody registered another schema, and registering ours
// again does not make it the latest.
func (g *Governance) noteNewer(ctx context.Context, p *Plan, s schemas.Subject, ours int) error {
	numbers, err := g.deps.Registry.VersionNumbers(ctx, s.Name)
	if err != nil || len(numbers) == 0 || numbers[len(numbers)-1] <= ours {
		return err
	}
	p.note(KindSubject, s.Name, "its latest version is %d, which is not schemas/%s: that is version %d; whoever reads the latest reads another schema than this build writes", numbers[len(numbers)-1], s.Path, ours)
	return nil
}

// writable refuses what the registry would: a subject that takes no versions now.
func (g *Governance) writable(ctx context.Context, p *Plan, s schemas.Subject) (bool, error) {
	mode, err := g.deps.Registry.Mode(ctx, s.Name)
	if err != nil || mode == registry.ModeReadWrite {
		return err == nil, err
	}
	p.refuse(KindSubject, s.Name, fmt.Sprintf("schemas/%s is not registered and the registry is in mode %s there: it takes no new version", s.Path, mode),
		"set the mode to READWRITE (PUT /mode), or ask who changed it")
	return false, nil
}

// order tells whether the level comes before the schema, and whether the schema may come at all.
func (g *Governance) order(ctx context.Context, p *Plan, s schemas.Subject, level avro.Level, own bool, wanted avro.Level, versions []registry.Schema) (levelFirst, ok bool, err error) {
	global := level
	if !own || level == avro.LevelNone {
		if global, err = g.deps.Registry.GlobalCompatibility(ctx); err != nil {
			return false, false, err
		}
	}
	if !own {
		// The registry holds a subject without a level of its own to its global one.
		level = global
	}
	if ok, err = g.accepted(p, s, level, wanted, versions); !ok || err != nil {
		return false, ok, err
	}
	if level != avro.LevelNone || global == avro.LevelNone {
		return implies(level, wanted), true, nil
	}
	// Confluent means NONE where it says so; Apicurio says NONE and means the global level. Where that would let the schema
	// pass as well the order is as ever, and otherwise the level comes first, which is right for both.
	failed, _, err := g.judge(s, global, versions)
	return failed > 0, true, err
}

// accepted tells whether a new version may come: compatible at the wanted level with all that live, so that a refusal comes
// before the first change; and where that and the level in force demand different things (BACKWARD, then FORWARD) at both.
// Whichever is there while the version is registered must let it pass, and who trusted the old one still has its records.
func (g *Governance) accepted(p *Plan, s schemas.Subject, inForce, wanted avro.Level, versions []registry.Schema) (bool, error) {
	failed, details, err := g.judge(s, wanted, versions)
	if err != nil {
		return false, err
	}
	if failed > 0 {
		p.refuse(KindSubject, s.Name, fmt.Sprintf("schemas/%s is incompatible at level %s with %d live version(s)", s.Path, wanted, failed),
			"give new fields a default and keep the old ones, or make a new major version: a new topic", details...)
		return false, nil
	}
	if implies(wanted, inForce) || implies(inForce, wanted) {
		return true, nil
	}
	if failed, details, err = g.judge(s, inForce, versions); err != nil || failed == 0 {
		return err == nil, err
	}
	p.refuse(KindSubject, s.Name, fmt.Sprintf("the level turns from %s to %s, neither includes the other, and schemas/%s satisfies only the new one: %d live version(s) fail at the old",
		inForce, wanted, s.Path, failed), "change the level alone first, and the schema afterwards", details...)
	return false, nil
}

// implies tells whether level a demands everything that b does.
func implies(a, b avro.Level) bool {
	if b == avro.LevelNone {
		return true
	}
	return (a.Backward() || !b.Backward()) && (a.Forward() || !b.Forward()) && (a.Transitive() || !b.Transitive())
}

// judge counts the versions that a schema is incompatible with at a level, and says why.
func (g *Governance) judge(s schemas.Subject, level avro.Level, versions []registry.Schema) (int, []string, error) {
	text, err := g.selfContained(s)
	if err != nil {
		return 0, nil, err
	}
	candidate, err := avro.Parse(text, nil)
	if err != nil {
		return 0, nil, fmt.Errorf("schemas/%s: %w", s.Path, err)
	}
	var earlier []avro.Version
	for _, v := range versions {
		old, err := avro.Parse(v.Text, nil, avro.KeepInvalidDefaults())
		if err != nil {
			return 0, nil, fmt.Errorf("subject %s version %d in the registry: %w", s.Name, v.Version, err)
		}
		earlier = append(earlier, avro.Version{Number: v.Version, Schema: old})
	}
	failed := level.CheckAll(candidate, earlier)
	var details []string
	for _, verdict := range failed {
		for _, found := range slices.Concat(verdict.Backward, verdict.Forward) {
			details = append(details, fmt.Sprintf("version %d: %s at %s: %s", verdict.Version.Number, found.Type, found.Location, found.Message))
		}
	}
	return len(failed), details, nil
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
