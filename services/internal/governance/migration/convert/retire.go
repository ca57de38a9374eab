package convert

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/kafka"
)

// Hold is one reason why a product cannot be retired.
type Hold struct {
	// Who is a consumer group or a program, and Owner the team to ask.
	Who   string `json:"who"`
	Owner string `json:"owner"`
	// Why it holds, and what to do.
	Why string `json:"why"`
	Do  string `json:"do"`
	// Lag of a group, in records; 0 for what is no group.
	Lag int64 `json:"lag"`
}

// Declared are the declarations of a working tree.
type Declared struct {
	Contracts  []contract.Contract
	Consumers  []contract.Consumer
	Producers  []contract.Producer
	Migrations []contract.Migration
}

// undeclared stands where nobody has said whose a group is.
const undeclared = "nobody: no file in contracts/consumers/"

// Holds finds everybody who lives on a product: declared readers and writers, and the groups of the cluster that have members
// there, or that have committed offsets there and were not moved since.
func Holds(ctx context.Context, c Cluster, d Declared, product contract.Contract) ([]Hold, error) {
	holds := d.declared(product)
	described, err := c.Admin.Describe(ctx, product.Topic.Name)
	if err != nil {
		return nil, err
	}
	topic, exists := described[product.Topic.Name]
	if !exists {
		return holds, nil
	}
	groups, err := c.Admin.Groups(ctx)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(groups, func(a, b kafka.GroupDescription) int { return strings.Compare(a.Group, b.Group) })
	for _, g := range groups {
		if g.Group == "" {
			continue
		}
		hold, held, err := d.group(ctx, c, g, topic, product)
		if err != nil {
			return nil, fmt.Errorf("looking at group %s: %w", g.Group, err)
		}
		if held {
			holds = append(holds, hold)
		}
	}
	return holds, nil
}

// declared are the holds that stand in files.
func (d Declared) declared(product contract.Contract) []Hold {
	var holds []Hold
	for _, c := range d.Consumers {
		// The writer's groups follow from the contract itself, and have no file; a view reads the table, which stays.
		if c.File != "" && !c.View && slices.ContainsFunc(c.Reads, func(r contract.Read) bool { return r.Product == product.ID }) {
			holds = append(holds, Hold{Who: c.Group, Owner: c.Owner, Why: "contracts/" + c.File + " declares that it reads " + product.ID, Do: "take the product out of the file once the group has cut over"})
		}
	}
	for _, p := range d.Producers {
		if slices.Contains(p.Writes, product.ID) {
			holds = append(holds, Hold{Who: p.Name, Owner: p.Owner, Why: "contracts/" + p.File + " declares that it writes " + product.ID, Do: "take the product out of the file once the program writes it no more"})
		}
	}
	return holds
}

func (d Declared) owner(group string) string {
	for _, c := range d.Consumers {
		if c.Group == group {
			return c.Owner
		}
	}
	return undeclared
}

// group says whether a group of the cluster holds the product.
func (d Declared) group(ctx context.Context, c Cluster, g kafka.GroupDescription, topic kafka.TopicDescription, product contract.Contract) (Hold, bool, error) {
	hold := Hold{Who: g.Group, Owner: d.owner(g.Group)}
	committed, err := c.Admin.GroupOffsets(ctx, g.Group, topic.TopicPartitions())
	if err != nil {
		return hold, false, err
	}
	if m, writes := d.converterTo(g.Group, product); writes && len(g.Members) > 0 {
		hold.Owner = product.Owner
		hold.Why, hold.Do = fmt.Sprintf("it still writes %s: %d members", product.ID, len(g.Members)), fmt.Sprintf("stop `streamforge convert %s --direction down`", m.To)
		return hold, true, nil
	}
	stands := slices.ContainsFunc(committed, func(o kafka.Committed) bool { return o.Offset >= 0 })
	reads := g.Reads(topic.Name)
	if !stands && !reads {
		return hold, false, nil
	}
	if g.Group == contract.WriterGroup(topic.Name) {
		return d.writer(ctx, c, hold, committed, product)
	}
	next, hasNext := d.next(product)
	switch {
	case reads && d.isConverter(g.Group, product):
		hold.Owner = product.Owner
		hold.Why, hold.Do = fmt.Sprintf("it converts what comes to %s: %d members", product.ID, len(g.Members)), "stop `streamforge convert`"
	case reads:
		hold.Why, hold.Do = fmt.Sprintf("it reads %s now: %d members", product.ID, len(g.Members)), "stop it"
		if hasNext {
			hold.Do += fmt.Sprintf(" and run `streamforge product cutover %s --group %s`", next.To, g.Group)
		}
	case d.isConverter(g.Group, product), hasNext && left(committed, next.To):
		return hold, false, nil
	default:
		hold.Why, hold.Do = fmt.Sprintf("it has offsets on %s and no member: nobody has moved it", product.ID), "delete the group if it is not wanted any more"
		if hasNext {
			hold.Do = fmt.Sprintf("run `streamforge product cutover %s --group %s`, or %s", next.To, g.Group, hold.Do)
		}
	}
	hold.Lag, err = lagOf(ctx, c.Admin, g.Group, topic.Name)
	return hold, err == nil, err
}

// left tells whether a group has not moved on a product since it was cut over to another.
func left(committed []kafka.Committed, to string) bool {
	return !slices.ContainsFunc(committed, func(o kafka.Committed) bool { return o.Offset >= 0 && o.Metadata != leftFor(to) })
}

func lagOf(ctx context.Context, admin *kafka.Admin, group, topic string) (int64, error) {
	lags, err := admin.Lag(ctx, group, []string{topic})
	total := int64(0)
	for _, l := range lags {
		total += l.Records
	}
	return total, err
}

// writer may be on a product until the end; what counts is that the table has every row that the next version's has not.
func (d Declared) writer(ctx context.Context, c Cluster, hold Hold, committed []kafka.Committed, product contract.Contract) (Hold, bool, error) {
	hold.Owner = product.Owner
	next, ok := d.next(product)
	if !ok {
		var err error
		hold.Lag, err = lagOf(ctx, c.Admin, hold.Who, product.Topic.Name)
		hold.Why, hold.Do = "it has rows to write", "wait until it has"
		return hold, hold.Lag > 0, err
	}
	if next.JoinAt == nil {
		hold.Why, hold.Do = fmt.Sprintf("nothing says where its rows and those of %s meet", next.To), fmt.Sprintf("run `streamforge product join %s`", next.To)
		return hold, true, nil
	}
	offsets := make([]int64, len(committed))
	for i, o := range committed {
		offsets[i] = o.Offset
	}
	if len(next.JoinAt.Offsets) != len(offsets) {
		return hold, false, fmt.Errorf("contracts/%s joins %d partitions, %s has %d", next.File, len(next.JoinAt.Offsets), product.Topic.Name, len(offsets))
	}
	var err error
	hold.Lag, err = offsetsBefore(ctx, c, product.Topic.Name, offsets, next.JoinAt.Offsets)
	hold.Why, hold.Do = fmt.Sprintf("it has rows to write from before the offsets at which %s takes over", next.To), "wait until it has"
	return hold, hold.Lag > 0, err
}

// next is the migration that leads away from a product.
func (d Declared) next(product contract.Contract) (contract.Migration, bool) {
	for _, m := range d.Migrations {
		if m.From == product.ID {
			return m, true
		}
	}
	return contract.Migration{}, false
}

// converterTo tells whether a group is that of the converter that writes a product from its next version.
func (d Declared) converterTo(group string, product contract.Contract) (contract.Migration, bool) {
	m, ok := d.next(product)
	return m, ok && group == groupOf(m, Down)
}

// isConverter tells whether a group is that of a converter that reads a product.
func (d Declared) isConverter(group string, product contract.Contract) bool {
	for _, m := range d.Migrations {
		if m.From == product.ID && group == groupOf(m, Up) || m.To == product.ID && group == groupOf(m, Down) {
			return true
		}
	}
	return false
}

// statusLine of a contract.
var statusLine = regexp.MustCompile(`(?m)^status:.*$`)

// Retired is the text of a contract that says so; everything else stays as it was written.
func Retired(text []byte) ([]byte, error) {
	if n := len(statusLine.FindAll(text, -1)); n != 1 {
		return nil, fmt.Errorf("%d lines begin with status:, want one", n)
	}
	return statusLine.ReplaceAll(text, []byte("status: retired")), nil
}
