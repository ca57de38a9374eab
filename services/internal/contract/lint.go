package contract

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/avro"
)

// Option tells Lint what does not stand in the files.
type Option func(*linter)

// WithSink makes Lint refuse what no table can hold, with the given judge of a contract with a sink and its self-contained
// schema; an error that joins others is a problem each. The one that knows ClickHouse is ddl.Mappable.
func WithSink(judge func(c Contract, schemaText string) error) Option {
	return func(l *linter) { l.sink = judge }
}

// WithVersions makes Lint compare what consumers declare with the version of the schema that they name. versions gives those
// of a subject, oldest first; none when the subject is not known.
func WithVersions(versions func(subject string) []*avro.Schema) Option {
	return func(l *linter) { l.versions = versions }
}

// WithToday makes Lint report waivers that have expired by that day.
func WithToday(today time.Time) Option {
	return func(l *linter) { l.today = today }
}

type linter struct {
	sink      func(Contract, string) error
	versions  func(string) []*avro.Schema
	today     time.Time
	migration func(m Migration, from, to string) []RuleFault
	view      func(v View, c Contract, schemaText string) error
}

func newLinter(options []Option) linter {
	var l linter
	for _, option := range options {
		option(&l)
	}
	return l
}

// Lint loads contracts, consumers, producers, waivers, migrations and views and compares them with each other and with the schemas. The error is Problems.
func Lint(fsys fs.FS, subjects []schemas.Subject, options ...Option) error {
	l := newLinter(options)
	files, err := contractFiles(fsys)
	if err != nil {
		return err
	}
	all, problems, err := parseAll(fsys, files)
	if err != nil {
		return err
	}
	for _, p := range l.lintContracts(all, subjects) {
		// A contract that cannot be read was reported above; that its schema therefore has none is no news.
		if p.Line > 0 || !slices.Contains(files, p.File) {
			problems = append(problems, p)
		}
	}
	consumers, found, err := loadConsumers(fsys)
	if err != nil {
		return err
	}
	problems = append(problems, found...)
	problems = append(problems, l.lintConsumers(consumers, all)...)
	producers, found, err := loadProducers(fsys)
	if err != nil {
		return err
	}
	problems = append(problems, found...)
	problems = append(problems, lintProducers(producers, all, consumers)...)
	waivers, found, err := loadWaivers(fsys)
	if err != nil {
		return err
	}
	problems = append(problems, found...)
	problems = append(problems, l.lintWaivers(waivers, all, subjects)...)
	migrations, found, err := loadMigrations(fsys)
	if err != nil {
		return err
	}
	problems = append(problems, found...)
	problems = append(problems, l.lintMigrations(migrations, all, subjects)...)
	views, found, err := loadViews(fsys)
	if err != nil {
		return err
	}
	problems = append(problems, found...)
	problems = append(problems, l.lintViews(views, all, subjects)...)
	return problems.Err()
}

// LintContracts compares contracts with schemas: each product has a schema and each field the same type and nullability
// in both; a sink's columns exist; what the platform's design asks of all products holds.
func LintContracts(all []Contract, subjects []schemas.Subject, options ...Option) Problems {
	return newLinter(options).lintContracts(all, subjects)
}

func (l linter) lintContracts(all []Contract, subjects []schemas.Subject) Problems {
	var problems Problems
	bySubject := map[string]schemas.Subject{}
	for _, s := range subjects {
		bySubject[s.Name] = s
	}
	for _, c := range all {
		problems = append(problems, c.lintTopic()...)
		problems = append(problems, c.lintSink()...)
		s, ok := bySubject[c.Subject]
		if !ok {
			problems = append(problems, c.problem("/servers", "subject "+c.Subject+" has no schema",
				fmt.Sprintf("add schemas/%s/%s.avsc", path.Dir(c.File), c.ID)))
			continue
		}
		delete(bySubject, c.Subject)
		problems = append(problems, l.lintSchema(c, s, subjects)...)
	}
	problems = append(problems, lintProvenance(all, subjects)...)
	for _, s := range subjects {
		_, unclaimed := bySubject[s.Name]
		if topic, isTopic := s.Topic(); isTopic && unclaimed && !slices.ContainsFunc(all, func(c Contract) bool { return c.Subject == s.Name }) {
			problems = append(problems, Problem{
				Subject: "schema " + s.Name, File: strings.TrimSuffix(s.Path, ".avsc") + ".yaml",
				What: "schemas/" + s.Path + " has no contract", Do: "add it: topic " + topic + " is created from its contract and nowhere else",
			})
		}
	}
	return problems
}

// symbolPartitions is the number of partitions of every topic keyed by symbol: joins by symbol are local only while all
// have the same. A new number takes a new major version of all of them.
const symbolPartitions = 64

func (c Contract) lintTopic() Problems {
	var problems Problems
	if c.MessageKey == "symbol" && c.Topic.Partitions != symbolPartitions {
		problems = append(problems, c.problem("/servers", fmt.Sprintf("%d partitions with the key symbol", c.Topic.Partitions),
			fmt.Sprintf("symbol-keyed topics are co-partitioned and have %d", symbolPartitions)))
	}
	if c.MessageKey == "symbol" && c.Topic.Partitioner != defaultPartitioner {
		problems = append(problems, c.problem("/servers", fmt.Sprintf("the partitioner %s with the key symbol", c.Topic.Partitioner),
			"symbol-keyed topics are co-partitioned by "+defaultPartitioner))
	}
	for _, s := range c.SLA {
		if s.Element == "" {
			continue
		}
		object, field, _ := strings.Cut(s.Element, ".")
		if object != tableName(c.ID) || findField(c.Fields, field) == nil {
			problems = append(problems, c.problem("/slaProperties", fmt.Sprintf("the element %s of %s is no field", s.Element, s.Property), "write "+tableName(c.ID)+".<field>"))
		}
	}
	return problems
}

func (c Contract) lintSink() Problems {
	if c.Sink == nil {
		return nil
	}
	var problems Problems
	for _, name := range c.Sink.OrderBy {
		f := findField(c.Fields, name)
		switch {
		case f == nil && strings.HasPrefix(name, "_"): // a column that the writer adds
		case f == nil:
			problems = append(problems, c.problem("/servers", fmt.Sprintf("orderBy names %s, which is no field", name), "list fields of the schema"))
		case !f.Required && f.Column.NullAs == nil:
			problems = append(problems, c.problem("/servers", fmt.Sprintf("orderBy names %s, which may be null", name), "choose a required field, or give it clickhouse.nullAs"))
		}
	}
	if f := findField(c.Fields, c.Sink.TimeColumn); f == nil || f.LogicalType != "timestamp" || !f.Required {
		problems = append(problems, c.problem("/servers", fmt.Sprintf("partitionBy %s is not by a required timestamp", c.Sink.PartitionBy), "use received_at, or the time at which the record was made"))
	}
	ttl := time.Duration(c.Sink.TTLDays) * 24 * time.Hour
	if kept := time.Duration(c.Topic.RetentionMs) * time.Millisecond; ttl < kept {
		problems = append(problems, c.problem("/servers", fmt.Sprintf("ttlDays %d is shorter than the topic's retention of %s", c.Sink.TTLDays, kept),
			"a row must not vanish while its record is still there, or a writer that starts anew would insert it again"))
	}
	return problems
}

// lintProvenance: rows that name a frame must not outlive the frame.
func lintProvenance(all []Contract, subjects []schemas.Subject) Problems {
	const frameType, frameProduct = "streamforge.market.FrameCoordinates", "raw-frames"
	frames, ok := Find(all, frameProduct)
	if !ok || frames.Sink == nil {
		return nil
	}
	var problems Problems
	for _, c := range all {
		i := slices.IndexFunc(subjects, func(s schemas.Subject) bool { return s.Name == c.Subject })
		if c.Sink == nil || i < 0 || !slices.ContainsFunc(subjects[i].References, func(r schemas.Reference) bool { return r.Name == frameType }) {
			continue
		}
		if c.Sink.TTLDays > frames.Sink.TTLDays {
			problems = append(problems, c.problem("/servers", fmt.Sprintf("ttlDays %d is longer than the %d of %s, which its rows point to", c.Sink.TTLDays, frames.Sink.TTLDays, frameProduct),
				"raise ttlDays of "+frameProduct+" first"))
		}
	}
	return problems
}

// lintSchema compares the contract's fields with the schema's, and the schema with what a table can hold.
func (l linter) lintSchema(c Contract, s schemas.Subject, all []schemas.Subject) Problems {
	mend := "mend schemas/" + s.Path
	text, err := schemas.SelfContainedAmong(s, all)
	if err != nil {
		return Problems{c.problem("/schema", err.Error(), mend)}
	}
	schema, err := avro.Parse(text, nil)
	if err != nil {
		return Problems{c.problem("/schema", fmt.Sprintf("schemas/%s: %v", s.Path, err), mend)}
	}
	fields, err := avroFields(schema)
	if err != nil {
		return Problems{c.problem("/schema", fmt.Sprintf("schemas/%s: %v", s.Path, err), mend)}
	}
	a := agreement{contract: c, schemaPath: "schemas/" + s.Path}
	a.fields("", "/schema/0/properties", c.Fields, fields)
	if l.sink == nil || c.Sink == nil {
		return a.problems
	}
	for _, err := range separate(l.sink(c, text)) {
		a.fail("/servers", "change the schema, or leave the ClickHouse server out of the contract", "ClickHouse cannot hold it: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return a.problems
}

// separate takes joined errors apart.
func separate(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

type agreement struct {
	contract   Contract
	schemaPath string
	problems   Problems
}

func (a *agreement) fail(pointer, do, format string, args ...any) {
	a.problems = append(a.problems, a.contract.problem(pointer, fmt.Sprintf(format, args...), do))
}

func (a *agreement) fields(prefix, pointer string, have []Field, want []avroField) {
	for _, w := range want {
		i := slices.IndexFunc(have, func(f Field) bool { return f.Name == w.name })
		if i < 0 {
			a.fail(pointer, fmt.Sprintf("add {name: %s, logicalType: %s, physicalType: %q, required: %v, description: …}", w.name, w.logicalType, w.physicalTypes[0], !w.nullable),
				"field %s%s of %s is not listed", prefix, w.name, a.schemaPath)
			continue
		}
		a.field(prefix, have[i], w)
	}
	for _, f := range have {
		if !slices.ContainsFunc(want, func(w avroField) bool { return w.name == f.Name }) {
			a.fail(f.pointer, "remove it, or add it to the schema", "field %s%s is not in %s", prefix, f.Name, a.schemaPath)
		}
	}
}

func (a *agreement) field(prefix string, f Field, w avroField) {
	name := prefix + f.Name
	if f.Required == w.nullable && !f.forbidsNull() {
		a.fail(f.pointer, fmt.Sprintf("write required: %v%s", !w.nullable, orForbid(w.nullable)), "field %s is required: %v, in %s it is %s", name, f.Required, a.schemaPath, nullability(w.nullable))
	}
	if sink := a.contract.Sink; w.nullable && f.Required && sink != nil && f.Column.NullAs == nil && slices.Contains(append([]string{sink.TimeColumn}, sink.OrderBy...), name) {
		a.fail(f.pointer, "choose another, or give it clickhouse.nullAs", "the table is ordered or partitioned by %s, which is nullable in %s", name, a.schemaPath)
	}
	a.inside(name, f, w)
}

// inside compares types and what is in them: a record's fields, an array's items, the records of a map.
func (a *agreement) inside(name string, f Field, w avroField) {
	a.types(name, f, w)
	if w.fields != nil || len(f.Fields) > 0 {
		prefix := name + "."
		if strings.HasPrefix(w.physicalTypes[0], "map(") {
			prefix = name + "{}."
		}
		a.fields(prefix, f.pointer+"/properties", f.Fields, w.fields)
	}
	switch {
	case w.items == nil && f.Items != nil:
		a.fail(f.Items.pointer, "remove them", "field %s has items, in %s it is no array", name, a.schemaPath)
	case w.items != nil && f.Items == nil:
		a.fail(f.pointer, "add items: {logicalType: "+w.items.logicalType+", physicalType: "+w.items.physicalTypes[0]+"}", "field %s is an array without items", name)
	case w.items != nil:
		if f.Items.Required == w.items.nullable && !f.Items.forbidsNull() {
			a.fail(f.Items.pointer, fmt.Sprintf("write required: %v", !w.items.nullable), "the items of %s are required: %v, in %s they are %s", name, f.Items.Required, a.schemaPath, nullability(w.items.nullable))
		}
		a.inside(name+"[]", *f.Items, *w.items)
	}
}

func (a *agreement) types(name string, f Field, w avroField) {
	if !slices.Contains(w.physicalTypes, f.PhysicalType) {
		a.fail(f.pointer+"/physicalType", fmt.Sprintf("write physicalType: %q, or change the schema", w.physicalTypes[0]), "field %s has the physicalType %s, in %s it is %s", name, f.PhysicalType, a.schemaPath, w.physicalTypes[0])
	}
	if f.LogicalType != w.logicalType {
		a.fail(f.pointer+"/logicalType", "write logicalType: "+w.logicalType, "field %s has the logicalType %s, its type in %s is %s", name, f.LogicalType, a.schemaPath, w.logicalType)
	}
}

func nullability(nullable bool) string {
	if nullable {
		return "nullable"
	}
	return "never null"
}
