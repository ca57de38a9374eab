// Package rule names what can be wrong between two versions of a data product although every registry would accept the
// change, and says how bad each is. The table stands here and nowhere else: contracts, waivers, the comparison and the
// documentation all read it.
package rule

import "slices"

// Severity says what a finding does to a change.
type Severity string

// The severities, the worst first.
const (
	// Breaking stops a change until it is taken back or a waiver lets it pass.
	Breaking Severity = "breaking"
	// Warning is shown and stops nothing.
	Warning Severity = "warning"
	// Note is worth knowing and no fault.
	Note Severity = "note"
)

var severities = []Severity{Breaking, Warning, Note}

// Severities lists the severities, the worst first.
func Severities() []Severity { return slices.Clone(severities) }

// Below tells whether s is less severe than other.
func (s Severity) Below(other Severity) bool {
	return slices.Index(severities, s) > slices.Index(severities, other)
}

// Rule is the name of one kind of finding, as contracts and waivers write it.
type Rule string

// What a change of a schema can do unnoticed.
const (
	UnitChanged            Rule = "unit-changed"
	LogicalTypeChanged     Rule = "logical-type-changed"
	PrecisionChanged       Rule = "precision-changed"
	ScaleChanged           Rule = "scale-changed"
	TypeChanged            Rule = "type-changed"
	TypePromoted           Rule = "type-promoted"
	NullabilityChanged     Rule = "nullability-changed"
	UnionChanged           Rule = "union-changed"
	UnionOrderChanged      Rule = "union-order-changed"
	NameChanged            Rule = "name-changed"
	NameAliased            Rule = "name-aliased"
	AliasRemoved           Rule = "alias-removed"
	DefaultChanged         Rule = "default-changed"
	DefaultRemoved         Rule = "default-removed"
	DefaultAdded           Rule = "default-added"
	FieldSilentlyDefaulted Rule = "field-silently-defaulted"
	FieldStillRead         Rule = "field-still-read"
	FieldRemoved           Rule = "field-removed"
	FieldRenamed           Rule = "field-renamed"
	FieldUndocumented      Rule = "field-undocumented"
	FieldOrderChanged      Rule = "field-order-changed"
	SortOrderChanged       Rule = "sort-order-changed"
	AttributeChanged       Rule = "attribute-changed"
	EnumOrderChanged       Rule = "enum-order-changed"
	EnumSymbolRemoved      Rule = "enum-symbol-removed"
	EnumSymbolAdded        Rule = "enum-symbol-added"
	DocRemoved             Rule = "doc-removed"
)

// What a change of a contract can take away from those who rely on it.
const (
	KeyChanged             Rule = "key-changed"
	PartitionsChanged      Rule = "partitions-changed"
	PartitionerChanged     Rule = "partitioner-changed"
	CleanupPolicyChanged   Rule = "cleanup-policy-changed"
	MessageSizeLowered     Rule = "message-size-lowered"
	DeadLetterRateRaised   Rule = "dead-letter-rate-raised"
	RetentionShortened     Rule = "retention-shortened"
	SLALoosened            Rule = "sla-loosened"
	LevelLowered           Rule = "level-lowered"
	SeverityLowered        Rule = "severity-lowered"
	OwnerChanged           Rule = "owner-changed"
	ClassificationLoosened Rule = "classification-loosened"
	FieldRuleLoosened      Rule = "field-rule-loosened"
	QualityLoosened        Rule = "quality-loosened"
	ProductRemoved         Rule = "product-removed"
	VersionNotRaised       Rule = "version-not-raised"
	VersionWithoutChange   Rule = "version-without-change"
)

// What a change can do to the table that a product asks for.
const (
	SinkRemoved        Rule = "sink-removed"
	OrderByChanged     Rule = "order-by-changed"
	PartitionByChanged Rule = "partition-by-changed"
	TTLShortened       Rule = "ttl-shortened"
	ColumnTypeChanged  Rule = "column-type-changed"
)

// What can be wrong with a waiver. These have no waiver of their own.
const (
	WaiverExpired    Rule = "waiver-expired"
	WaiverUnmatched  Rule = "waiver-unmatched"
	WaiverUnapproved Rule = "waiver-unapproved"
)

// Info is one line of the table.
type Info struct {
	Rule     Rule
	Severity Severity
	// Means says what happened, in words for a person who looks the rule up.
	Means string
}

var table = []Info{
	{UnitChanged, Breaking, "the same number now counts another unit: timestamp-millis → timestamp-micros, or the field's `unit` attribute"},
	{LogicalTypeChanged, Breaking, "the same bytes now mean something else: date, uuid, decimal, local-timestamp … came, went or changed"},
	{PrecisionChanged, Breaking, "a decimal has more or fewer digits: values or columns of one side no longer hold those of the other"},
	{ScaleChanged, Breaking, "a decimal's point moved: every old value reads 10ⁿ times too large or too small"},
	{TypeChanged, Breaking, "a type that Avro reads as another with loss or another meaning: string ↔ bytes, long → double, int → float"},
	{TypePromoted, Warning, "a type became wider or narrower without loss for those who can read it: int → long, float → double"},
	{NullabilityChanged, Warning, "null became possible, or impossible"},
	{UnionChanged, Warning, "a union gained or lost a branch"},
	{UnionOrderChanged, Note, "a union's branches stand in another order; its default belongs to the first"},
	{NameChanged, Breaking, "a record, enum or fixed has another namespace: the rules compare only the last part of the name, generated code and unions do not"},
	{NameAliased, Warning, "a record, enum or fixed has another full name and the old one as an alias: new readers follow, old ones do not"},
	{AliasRemoved, Warning, "an alias is gone: what was written under the old name can no longer be read"},
	{DefaultChanged, Breaking, "records from before the field, or symbols that a reader does not know, now read as another value"},
	{DefaultRemoved, Warning, "a default is gone: the field can never be removed again, or an unknown symbol is an error"},
	{DefaultAdded, Note, "a default came"},
	{FieldSilentlyDefaulted, Breaking, "a removed or renamed field that a declared reader reads: it gets the default instead, without an error"},
	{FieldStillRead, Breaking, "a removed or renamed field without a default that a declared reader reads: it can read no new record"},
	{FieldRemoved, Warning, "a field is gone that no declared reader reads"},
	{FieldRenamed, Warning, "a field has a new name and the old one as an alias, and no declared reader reads it"},
	{FieldUndocumented, Warning, "a field was added without documentation"},
	{FieldOrderChanged, Note, "fields stand in another order"},
	{SortOrderChanged, Note, "a field's `order` attribute changed: records sort otherwise"},
	{AttributeChanged, Note, "an attribute that is not Avro's own changed"},
	{EnumOrderChanged, Breaking, "an enum's symbols have other numbers: they sort otherwise, and who decodes by number reads another symbol"},
	{EnumSymbolRemoved, Breaking, "a symbol is gone and the enum has a default: old records with it read as the default"},
	{EnumSymbolAdded, Note, "a symbol came: readers of the older version read it as the enum's default"},
	{DocRemoved, Warning, "documentation disappeared"},

	{KeyChanged, Breaking, "the message key is another: order and joins by key end; needs a new major version"},
	{PartitionsChanged, Breaking, "keys move to other partitions and lose their order; needs a new major version"},
	{PartitionerChanged, Breaking, "keys move to other partitions and lose their order; needs a new major version"},
	{CleanupPolicyChanged, Breaking, "records disappear by another rule than readers rely on"},
	{MessageSizeLowered, Warning, "records that were accepted are refused"},
	{DeadLetterRateRaised, Warning, "more bad records pass before a consumer stops"},
	{RetentionShortened, Breaking, "records disappear earlier than readers rely on"},
	{SLALoosened, Breaking, "a promise is weaker, or gone"},
	{LevelLowered, Breaking, "the compatibility level guarantees less than it did"},
	{SeverityLowered, Breaking, "the contract makes a rule milder"},
	{OwnerChanged, Warning, "another team, or other people of it, answer for the product"},
	{ClassificationLoosened, Breaking, "a field may be seen by more people than before, or is no longer classified"},
	{FieldRuleLoosened, Warning, "a field's range is wider or gone, or its violation has a milder consequence"},
	{QualityLoosened, Warning, "a quality rule is gone, or another one"},
	{ProductRemoved, Breaking, "the product is retired or its contract is gone"},
	{VersionNotRaised, Breaking, "the schema changed and the contract's minor version did not grow by one, or a new major does not begin at .0"},
	{VersionWithoutChange, Warning, "the contract's minor version changed and the schema did not"},

	{SinkRemoved, Breaking, "the product no longer asks for its table: new records reach it no more"},
	{OrderByChanged, Breaking, "ClickHouse cannot change a table's ORDER BY"},
	{PartitionByChanged, Breaking, "ClickHouse cannot change a table's PARTITION BY"},
	{TTLShortened, Breaking, "rows are deleted earlier"},
	{ColumnTypeChanged, Breaking, "a column's type would change: rows would be rewritten or lost"},

	{WaiverExpired, Warning, "a waiver's last day is over"},
	{WaiverUnmatched, Warning, "a waiver waives nothing: the change is not there, or is another one"},
	{WaiverUnapproved, Warning, "a waiver's approver is not an owner of the product by the base's contract"},
}

// All returns the table in its order.
func All() []Info { return slices.Clone(table) }

// Find returns the rule's line, and false for a name that is no rule.
func Find(r Rule) (Info, bool) {
	i := slices.IndexFunc(table, func(in Info) bool { return in.Rule == r })
	if i < 0 {
		return Info{}, false
	}
	return table[i], true
}

// Waivable tells whether a waiver can let findings of the rule pass: what is wrong with a waiver cannot be waived.
func (r Rule) Waivable() bool {
	_, known := Find(r)
	return known && r != WaiverExpired && r != WaiverUnmatched && r != WaiverUnapproved
}

// ConcernsReaders tells whether a finding of the rule can hurt who reads the product. The others are about how the product is
// governed: they stop a change, and break nobody.
func (r Rule) ConcernsReaders() bool {
	switch r {
	case VersionNotRaised, VersionWithoutChange, LevelLowered, SeverityLowered, OwnerChanged, FieldUndocumented, WaiverExpired, WaiverUnmatched, WaiverUnapproved:
		return false
	}
	return true
}

// Overrides are a contract's own severities of single rules. Only the BASE's contract decides: a change cannot excuse
// itself.
type Overrides map[Rule]Severity

// Of returns the severity of a rule: the override where there is one, else the table's.
func (o Overrides) Of(r Rule) Severity {
	if s, ok := o[r]; ok {
		return s
	}
	if info, ok := Find(r); ok {
		return info.Severity
	}
	return Breaking
}
