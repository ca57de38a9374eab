// Package contract is the model of a data product's contract: it reads the ODCS v3.1.0 files and the declarations of
// readers, says with file and line what is wrong with them, and compares them with the Avro schemas. It is pure: nothing
// of Kafka, of the registry or of ClickHouse is known here, so that a check in a pull request needs none of them.
package contract

import (
	"slices"
	"strconv"
	"time"

	"github.com/streamforge/streamforge/services/internal/contract/rule"
)

// Contract of one data product.
type Contract struct {
	// ID is the product's name and its topic's.
	ID string
	// Version is "major.minor.patch": the major is the topic's, the minor grows with every change of the schema.
	Version string
	// Status is proposed, draft, active, deprecated or retired.
	Status string
	// Domain, and Owner: the name of the team that answers for the product. OwnerUsers are its members with the role owner.
	Domain     string
	Owner      string
	OwnerUsers []string
	// Purpose, Usage and Limitations are the description's parts.
	Purpose, Usage, Limitations string

	Topic TopicSpec
	// Subject and Compatibility of the values in the schema registry.
	Subject       string
	Compatibility string
	// MessageKey says in words what the key is made of: "symbol", "venue/feed".
	MessageKey string
	// DeadLetterRate is the share of records, 0 to 1, above which bad records are an outage and no longer bad records.
	DeadLetterRate float64
	// Sink is the ClickHouse table that the product asks for; nil when it asks for none.
	Sink *Sink
	SLA  []SLA
	// Fields of the value, in the schema's order.
	Fields []Field
	// Quality holds the rules of the record as a whole, those of single fields are in Fields; each is JSON with its members in
	// order and without the words for people.
	Quality []string
	// Severities that the product gives single rules instead of the table's (see package rule).
	Severities rule.Overrides

	// File is the path below contracts/.
	File string

	doc *document
}

// TopicSpec is what the topic must be like.
type TopicSpec struct {
	Name       string
	Partitions int
	// Partitioner of every producer: which partition a key goes to. Topics that are joined by key must have the same.
	Partitioner string
	// CleanupPolicy is Kafka's: delete, compact or "compact,delete".
	CleanupPolicy string
	// RetentionMs comes from the SLA's retention, and only from there.
	RetentionMs int64
	// MaxMessageBytes is 0 where the broker's own limit will do.
	MaxMessageBytes int
	// Configs are the topic's settings as Kafka names and writes them.
	Configs map[string]string
}

// Sink is a ClickHouse table made from the topic.
type Sink struct {
	// Database of the contract is documentation; the address from the environment decides.
	Database string
	Table    string
	OrderBy  []string
	// PartitionBy is an expression of one time column, for example toYYYYMMDD(received_at).
	PartitionBy string
	// TimeColumn is that column; the table's TTL counts from it.
	TimeColumn string
	TTLDays    int
	// MaxPartsPerSecond bounds how many blocks all writers of the table may insert; with the deduplication window it gives
	// the time within which a retry is recognised.
	MaxPartsPerSecond int
	// Columns holds what the contract says about single columns, by the field's dotted path.
	Columns map[string]Column
}

// Column is how a field is to be stored.
type Column struct {
	LowCardinality bool
	// NullAs stands in the column where the record has null; nil makes the column Nullable.
	NullAs *string
}

// SLA is one promise.
type SLA struct {
	Property string
	// Value is a number, or a date written as text.
	Value   float64
	Text    string
	Unit    string
	Element string
}

// Duration of a promise whose unit is one of time.
func (s SLA) Duration() (time.Duration, bool) {
	unit, ok := timeUnits[s.Unit]
	return time.Duration(s.Value * float64(unit)), ok
}

var timeUnits = map[string]time.Duration{
	"us": time.Microsecond, "ms": time.Millisecond, "s": time.Second, "min": time.Minute, "m": time.Minute, "h": time.Hour,
	"d": 24 * time.Hour, "day": 24 * time.Hour, "days": 24 * time.Hour,
}

// Field of the value.
type Field struct {
	Name, Description         string
	LogicalType, PhysicalType string
	Required                  bool
	Classification            string
	// Minimum and Maximum of a number; nil where there is no bound.
	Minimum, Maximum *float64
	// OnViolation of the bounds or of required: block (the consumer waits), divert (the record is a dead letter) or count;
	// empty is count.
	OnViolation string
	Column      Column
	// Fields of a nested record, or of the records in a map.
	Fields []Field
	// Items of an array.
	Items *Field
	// Quality rules, as in Contract.
	Quality []string

	pointer string
}

// Retired tells that the product has come to its end: what there is of it stays, and nothing of it is made, filled or changed.
func (c Contract) Retired() bool { return c.Status == "retired" }

// Sinks tells whether rows are written for the product.
func (c Contract) Sinks() bool { return c.Sink != nil && !c.Retired() }

// FindSLA returns the promise with that property.
func (c Contract) FindSLA(property string) (SLA, bool) {
	i := slices.IndexFunc(c.SLA, func(s SLA) bool { return s.Property == property })
	if i < 0 {
		return SLA{}, false
	}
	return c.SLA[i], true
}

// WriterGroup is the consumer group that fills the sink of a topic.
func WriterGroup(topic string) string { return "writer." + topic }

// BackfillGroup is the consumer group that fills a table of the topic beside the live one.
func BackfillGroup(topic string) string { return WriterGroup(topic) + ".backfill" }

// Find returns the contract of a product.
func Find(all []Contract, id string) (Contract, bool) {
	i := slices.IndexFunc(all, func(c Contract) bool { return c.ID == id })
	if i < 0 {
		return Contract{}, false
	}
	return all[i], true
}

// problem at a pointer of the contract's file.
func (c Contract) problem(pointer, what, do string) Problem {
	p := Problem{Subject: "contract " + c.ID, File: c.File, What: what, Do: do}
	if c.doc != nil {
		p.Line = c.doc.line(pointer)
	}
	return p
}

// configs writes the settings in Kafka's terms. Only what a contract decides is here: what it leaves out belongs to the
// operators of the broker, and a plan must not call their choice a difference.
func (t TopicSpec) configs() map[string]string {
	m := map[string]string{
		"cleanup.policy": t.CleanupPolicy,
		"retention.ms":   strconv.FormatInt(t.RetentionMs, 10),
	}
	if t.MaxMessageBytes > 0 {
		m["max.message.bytes"] = strconv.Itoa(t.MaxMessageBytes)
	}
	return m
}
