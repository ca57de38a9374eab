package governance

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// planTopics compares the topics of the contracts, and names those that no contract does.
func (g *Governance) planTopics(ctx context.Context, p *Plan) error {
	if g.deps.Topics == nil {
		p.note(KindTopic, "", "Kafka was not asked, topics are left out")
		return nil
	}
	var names, retired []string
	for _, c := range g.deps.Contracts {
		if c.Retired() {
			retired = append(retired, c.Topic.Name)
			continue
		}
		names = append(names, c.Topic.Name)
	}
	existing, err := g.deps.Topics.Describe(ctx, names...)
	if err != nil {
		return fmt.Errorf("describing %d topics: %w", len(names), err)
	}
	for _, name := range slices.Sorted(maps.Keys(g.config.TopicOverrides)) {
		p.note(KindTopic, "", "%s is %s on this cluster instead of what the contracts say, as intended: %s", name, g.config.TopicOverrides[name], g.config.OverrideReason)
	}
	for _, name := range names {
		wanted := g.wantedTopic(name)
		have, exists := existing[name]
		if !exists {
			p.step(Step{
				Kind: KindTopic, Action: ActionCreate, Object: name, To: fmt.Sprintf("%d partitions, %s", wanted.Partitions, settings(wanted.Configs)),
				What: fmt.Sprintf("create with %d partitions, %s", wanted.Partitions, settings(wanted.Configs)),
			})
			continue
		}
		g.compareTopic(p, wanted, have)
	}
	all, err := g.deps.Topics.List(ctx)
	if err != nil {
		return fmt.Errorf("listing topics: %w", err)
	}
	slices.Sort(all)
	for _, name := range all {
		switch {
		case slices.Contains(retired, name):
			p.note(KindTopic, name, "its product is retired; it is left alone, and `streamforge product retire --delete-topic` deletes it")
		case !internal(name) && !slices.Contains(names, name):
			p.note(KindTopic, name, "no contract names it; it is left alone")
		}
	}
	return nil
}

// internal tells the topics that belong to the broker (__consumer_offsets), the registry (_schemas) or a vendor's own parts.
func internal(topic string) bool {
	return strings.HasPrefix(topic, "__") || strings.HasPrefix(topic, "_confluent") || topic == "_schemas"
}

func (g *Governance) wantedTopic(name string) Topic {
	for _, c := range g.deps.Contracts {
		if c.Topic.Name == name {
			configs := maps.Clone(c.Topic.Configs)
			maps.Copy(configs, g.config.TopicOverrides)
			return Topic{Name: name, Partitions: c.Topic.Partitions, Configs: configs}
		}
	}
	panic("BUG: topic " + name + " has no contract")
}

func (g *Governance) compareTopic(p *Plan, wanted, have Topic) {
	same := true
	if have.Partitions != wanted.Partitions {
		same = false
		p.refuse(KindTopic, wanted.Name, fmt.Sprintf("the topic has %d partitions, its contract says %d: keys would move and lose their order", have.Partitions, wanted.Partitions),
			"make a new major version, or set the contract right")
	}
	for _, name := range slices.Sorted(maps.Keys(wanted.Configs)) {
		if sameSetting(name, have.Configs[name], wanted.Configs[name]) {
			continue
		}
		same = false
		p.step(Step{
			Kind: KindTopic, Action: ActionAlter, Object: wanted.Name, Setting: name, From: have.Configs[name], To: wanted.Configs[name],
			What: fmt.Sprintf("%s: %s → %s%s", name, orNone(have.Configs[name]), wanted.Configs[name], goes(name, have.Configs[name], wanted.Configs[name])),
		})
	}
	noteSettings(p, wanted, have)
	if same {
		p.Unchanged++
	}
}

// noteSettings names what somebody set for the topic and no contract says, and a bound in bytes, whosever it is: it can end a
// record's life before its retention.
func noteSettings(p *Plan, wanted, have Topic) {
	const early = ": records may go before their retention"
	for _, name := range slices.Sorted(maps.Keys(have.Overrides)) {
		if _, decided := wanted.Configs[name]; decided {
			continue
		}
		consequence := ""
		if name == retentionBytes && have.Overrides[name] != "-1" {
			consequence = early
		}
		p.note(KindTopic, wanted.Name, "somebody set %s to %s, which no contract says; it is left alone%s", name, have.Overrides[name], consequence)
	}
	bytes := have.Configs[retentionBytes]
	if _, set := have.Overrides[retentionBytes]; !set && bytes != "" && bytes != "-1" && wanted.Configs[retentionBytes] == "" {
		p.note(KindTopic, wanted.Name, "the broker keeps at most %s bytes a partition, its own setting%s", bytes, early)
	}
}

const (
	retentionMs    = "retention.ms"
	retentionBytes = "retention.bytes"
)

// goes warns of a change of a setting that takes records away.
func goes(name, from, to string) string {
	switch name {
	case retentionMs, retentionBytes:
		before, errBefore := strconv.ParseInt(from, 10, 64)
		after, errAfter := strconv.ParseInt(to, 10, 64)
		if errBefore == nil && errAfter == nil && after >= 0 && (before < 0 || after < before) {
			return " (older records go)"
		}
	case "cleanup.policy":
		if slices.Contains(policy(to), "compact") && !slices.Contains(policy(from), "compact") {
			return " (of records with the same key only the newest stays)"
		}
	}
	return ""
}

// sameSetting compares two values of a topic's setting; cleanup.policy is a set and brokers give it in their own order.
func sameSetting(name, a, b string) bool {
	if name != "cleanup.policy" {
		return a == b
	}
	return slices.Equal(policy(a), policy(b))
}

func policy(s string) []string {
	words := strings.Split(strings.ReplaceAll(s, " ", ""), ",")
	slices.Sort(words)
	return words
}

func settings(configs map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		parts = append(parts, name+"="+configs[name])
	}
	return strings.Join(parts, " ")
}

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}
