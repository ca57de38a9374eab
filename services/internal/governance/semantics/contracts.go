package semantics

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/contract/rule"
)

// keys: a key decides the partition, so a key that is written otherwise goes elsewhere, whatever Avro says.
func (c *comparison) keys(base, next *avro.Schema) {
	from, to := normalText(base), normalText(next)
	if from == to {
		return
	}
	c.add(change{
		rule: rule.KeyChanged, scope: "key", from: from, to: to,
		what: "the schema of the keys is another: the same key is other bytes, goes to another partition and is compacted apart", do: c.newMajor(),
	})
}

func normalText(s *avro.Schema) string {
	if s == nil {
		return ""
	}
	return s.Normalized().SelfContained()
}

// contracts compares what two contracts promise, apart from the table.
func (c *comparison) contracts(base, next Product) {
	from, to := base.Contract, next.Contract
	c.topics(from, to)
	c.promises(from, to)
	c.governing(from, to)
	c.fieldPromises(base, next)
	changed := normalText(base.Schema) != normalText(next.Schema) || normalText(base.Key) != normalText(next.Key)
	if r, what, do := to.CheckVersion(from, changed); r != "" {
		c.add(change{rule: r, scope: "contract", path: "version", from: from.Version, to: to.Version, what: what, do: do})
	}
}

// value adds a finding when a value of the contract changed; what takes the old and the new value.
func (c *comparison) value(r rule.Rule, path, from, to, what, do string) {
	if from == to {
		return
	}
	c.add(change{rule: r, scope: "contract", path: path, from: from, to: to, what: fmt.Sprintf(what, from, to), do: do})
}

func (c *comparison) topics(from, to contract.Contract) {
	c.value(rule.KeyChanged, "messageKey", from.MessageKey, to.MessageKey, "the message key changes from %s to %s: order and joins by the old key end", c.newMajor())
	c.value(rule.PartitionsChanged, "partitions", fmt.Sprint(from.Topic.Partitions), fmt.Sprint(to.Topic.Partitions),
		"the topic has %s partitions and would have %s: keys move and lose their order", c.newMajor())
	c.value(rule.PartitionerChanged, "partitioner", from.Topic.Partitioner, to.Topic.Partitioner, "the partitioner changes from %s to %s: keys move and lose their order", c.newMajor())
	c.value(rule.CleanupPolicyChanged, "cleanupPolicy", from.Topic.CleanupPolicy, to.Topic.CleanupPolicy,
		"the cleanup policy changes from %s to %s: records disappear by another rule", "leave the policy, or "+c.newMajor())
	// 0 is the broker's own limit, which is not known here: naming one where there was none may lower it.
	if limit := to.Topic.MaxMessageBytes; limit > 0 && limit < from.Topic.MaxMessageBytes || limit == 0 && from.Topic.MaxMessageBytes > 0 {
		c.value(rule.MessageSizeLowered, "maxMessageBytes", bytesOf(from.Topic.MaxMessageBytes), bytesOf(limit), "the largest message was %s and would be %s: longer ones are refused", "leave the limit")
	}
	if to.DeadLetterRate > from.DeadLetterRate {
		c.value(rule.DeadLetterRateRaised, "deadLetterRate", fmt.Sprint(from.DeadLetterRate), fmt.Sprint(to.DeadLetterRate),
			"the share of bad records at which consumers stop rises from %s to %s", "find out why records are bad")
	}
}

func bytesOf(n int) string {
	if n == 0 {
		return "the broker's"
	}
	return fmt.Sprintf("%d bytes", n)
}

// levels in what they guarantee.
func (c *comparison) governing(from, to contract.Contract) {
	if lowered(avro.Level(from.Compatibility), avro.Level(to.Compatibility)) {
		c.value(rule.LevelLowered, "compatibility", from.Compatibility, to.Compatibility, "the compatibility level goes from %s to %s, which guarantees less", "leave the level; what it refuses needs a new major version")
	}
	for _, info := range rule.All() {
		if before, after := from.Severities.Of(info.Rule), to.Severities.Of(info.Rule); after.Below(before) {
			c.value(rule.SeverityLowered, "severities."+string(info.Rule), string(before), string(after),
				"the severity of "+string(info.Rule)+" goes from %s to %s", "leave the severity, and waive the one change that needs it")
		}
	}
	c.value(rule.OwnerChanged, "team", from.Owner, to.Owner, "the product goes from team %s to team %s", "let both teams approve")
	c.value(rule.OwnerChanged, "owners", strings.Join(slices.Sorted(slices.Values(from.OwnerUsers)), ", "), strings.Join(slices.Sorted(slices.Values(to.OwnerUsers)), ", "),
		"the owners were %s and would be %s", "let the owners of before approve")
	if to.Status == "retired" && from.Status != "retired" {
		c.retired(from, "its status becomes retired")
	}
}

// lowered tells whether a level no longer guarantees something that another did. Levels are only partly ordered: from
// BACKWARD to FORWARD something is lost too.
func lowered(from, to avro.Level) bool {
	return from.Backward() && !to.Backward() || from.Forward() && !to.Forward() ||
		from.Transitive() && !to.Transitive()
}

func (c *comparison) retired(from contract.Contract, why string) {
	readers := c.readersOf()
	who := "no declared reader is left"
	if len(readers) > 0 {
		who = fmt.Sprintf("%s read it", named(readers))
	}
	c.add(change{
		rule: rule.ProductRemoved, scope: "contract", path: "status", from: from.Status, to: "retired", readers: readers,
		what: fmt.Sprintf("product %s goes (%s); %s", from.ID, why, who), do: "move its readers to another product first, then `streamforge product retire`",
	})
}

// better says in which direction a promise is stronger.
type better int

const (
	higher better = iota
	lowerIsBetter
	later
	earlier
)

// directions of the promises that the standard knows; retention has a rule of its own.
var directions = map[string]better{
	"availability": higher, "throughput": higher, "errorRate": lowerIsBetter, "latency": lowerIsBetter,
	// The time between two arrivals.
	"frequency":    lowerIsBetter,
	"timeToDetect": lowerIsBetter, "timeToNotify": lowerIsBetter, "timeToRepair": lowerIsBetter,
	"generalAvailability": earlier, "endOfSupport": later, "endOfLife": later,
}

func (c *comparison) promises(from, to contract.Contract) {
	for _, was := range from.SLA {
		i := slices.IndexFunc(to.SLA, func(s contract.SLA) bool { return s.Property == was.Property && s.Element == was.Element })
		path := "slaProperties." + was.Property
		if was.Element != "" {
			path += " of " + was.Element
		}
		if i < 0 {
			c.value(rule.SLALoosened, path, promise(was), "", "the "+was.Property+" of %s is no longer promised%s", "keep the promise, or agree with the readers")
			continue
		}
		is := to.SLA[i]
		switch {
		case was.Property == "retention":
			if from.Topic.RetentionMs > to.Topic.RetentionMs {
				c.value(rule.RetentionShortened, path, days(from.Topic.RetentionMs), days(to.Topic.RetentionMs), "records were kept for %s and would be kept for %s", "leave the retention, or agree with the readers")
			}
		case loosened(was, is):
			c.value(rule.SLALoosened, path, promise(was), promise(is), "the "+was.Property+" promised goes from %s to the weaker %s", "keep the promise, or agree with the readers")
		}
	}
}

func days(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	if d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%d d", d/(24*time.Hour))
	}
	return d.String()
}

func promise(s contract.SLA) string {
	if s.Text != "" {
		return s.Text
	}
	return strings.TrimSpace(fmt.Sprintf("%v %s", s.Value, s.Unit))
}

// loosened compares two promises of one property in their own direction and unit. Units that cannot be compared make a new
// promise of it, and the old one is gone.
func loosened(was, is contract.SLA) bool {
	direction, known := directions[was.Property]
	if !known {
		return promise(was) != promise(is)
	}
	if direction == later || direction == earlier {
		// Days are written year first, so that they compare as text.
		return direction == later && is.Text < was.Text || direction == earlier && is.Text > was.Text
	}
	a, b := was.Value, is.Value
	if was.Unit != is.Unit {
		x, xOK := was.Duration()
		y, yOK := is.Duration()
		if !xOK || !yOK {
			return true
		}
		a, b = float64(x), float64(y)
	}
	if direction == higher {
		return b < a
	}
	return b > a
}
