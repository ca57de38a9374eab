package contract

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/streamforge/streamforge/services/internal/contract/rule"
)

// decoder turns a document that has the right form into a Contract, and checks what a JSON Schema cannot: custom
// properties, names that must agree, expressions that become SQL.
type decoder struct {
	doc           *document
	subject, file string
	problems      Problems
}

type wireCustom struct {
	Property string
	Value    any
}

type wireServer struct {
	Server, Type, Host, Database string
	CustomProperties             []wireCustom
}

type wireOptions struct {
	Minimum, Maximum *float64
	unchecked
}

type wireProperty struct {
	Name, Description, LogicalType, PhysicalType, Classification string
	Required                                                     *bool
	LogicalTypeOptions                                           wireOptions
	CustomProperties                                             []wireCustom
	Properties                                                   []wireProperty
	Items                                                        *wireProperty
	Quality                                                      []map[string]any
}

type wireContract struct {
	ID, Version, Status, Domain string
	Description                 struct{ Purpose, Usage, Limitations string }
	Servers                     []wireServer
	Schema                      []struct {
		Name, PhysicalName string
		Properties         []wireProperty
		CustomProperties   []wireCustom
		Quality            []map[string]any
	}
	SLAProperties []struct {
		Property, Unit, Element string
		Value                   any
	}
	Team struct {
		Name    string
		Members []struct{ Username, Role string }
	}
	CustomProperties []wireCustom
}

func (d *decoder) fail(pointer, do, format string, args ...any) {
	d.problems = append(d.problems, Problem{Subject: d.subject, File: d.file, Line: d.doc.line(pointer), What: fmt.Sprintf(format, args...), Do: do})
}

func (d *decoder) contract() Contract {
	var w wireContract
	text, err := json.Marshal(d.doc.value)
	if err == nil {
		err = json.Unmarshal(text, &w)
	}
	if err != nil {
		d.fail("", "", "%v", err)
		return Contract{}
	}
	c := Contract{
		ID: w.ID, Version: w.Version, Status: w.Status, Domain: w.Domain, Owner: w.Team.Name, File: d.file, doc: d.doc,
		Purpose: w.Description.Purpose, Usage: w.Description.Usage, Limitations: w.Description.Limitations,
	}
	for _, m := range w.Team.Members {
		if m.Role == "owner" {
			c.OwnerUsers = append(c.OwnerUsers, m.Username)
		}
	}
	if len(c.OwnerUsers) == 0 {
		d.fail("/team/members", "add {username: …, role: owner}", "nobody of team %s has the role owner", c.Owner)
	}
	d.names(w)
	own := d.custom(w.CustomProperties, "")
	c.Severities = own.severities()
	own.rest()
	d.custom(w.Schema[0].CustomProperties, "/schema/0").rest()
	d.sla(&c, w)
	d.servers(&c, w)
	c.Quality = qualityRules(w.Schema[0].Quality)
	c.Fields = d.fields(w.Schema[0].Properties, "/schema/0/properties")
	if c.Sink != nil {
		c.Sink.Columns = map[string]Column{}
		collectColumns(c.Sink.Columns, "", c.Fields)
	}
	c.Topic.Configs = c.Topic.configs()
	return c
}

// names must agree, because each of them is what somebody looks for.
func (d *decoder) names(w wireContract) {
	if base := strings.TrimSuffix(path.Base(d.file), ".yaml"); base != w.ID {
		d.fail("/id", "the file is named after the product", "id is %q, the file is named %s.yaml", w.ID, base)
	}
	if w.Schema[0].PhysicalName != w.ID {
		d.fail("/schema/0/physicalName", "write "+w.ID, "physicalName is %q, the topic is %s", w.Schema[0].PhysicalName, w.ID)
	}
	if want := tableName(w.ID); w.Schema[0].Name != want {
		d.fail("/schema/0/name", "write "+want, "the schema's name is %q", w.Schema[0].Name)
	}
	major, _, _ := strings.Cut(w.Version, ".")
	if want := majorOf(w.ID); major != want {
		d.fail("/version", "a new major version is a new topic, named …v"+major, "version %s, but topic %s is of major version %s", w.Version, w.ID, want)
	}
}

func tableName(id string) string { return strings.NewReplacer("-", "_", ".", "_").Replace(id) }

func majorOf(id string) string {
	if _, v, ok := strings.Cut(id, ".v"); ok {
		return v
	}
	return "1"
}

func (d *decoder) servers(c *Contract, w wireContract) {
	kafka := -1
	for i, s := range w.Servers {
		pointer := fmt.Sprintf("/servers/%d", i)
		custom := d.custom(s.CustomProperties, pointer)
		switch {
		case s.Type == "kafka" && kafka >= 0, s.Type == "clickhouse" && c.Sink != nil:
			d.fail(pointer, "keep one", "a second server of type %s", s.Type)
		case s.Type == "kafka":
			kafka = i
			d.kafka(c, custom)
		default:
			d.clickhouse(c, s, custom)
		}
		custom.rest()
	}
	if kafka < 0 {
		d.fail("/servers", "add one with topic, partitions, subject, compatibility, messageKey, cleanupPolicy, deadLetterRate", "no server of type kafka")
	}
}

var compatibilities = []string{"NONE", "BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD", "FORWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE"}

// defaultPartitioner is Java's, and that of the platform's own producers. A contract names another one when foreign
// producers fill the topic.
const defaultPartitioner = "murmur2"

var partitioners = []string{defaultPartitioner, "crc32", "fnv1a", "manual"}

func (d *decoder) kafka(c *Contract, p *customs) {
	c.Topic.Name = p.text("topic", true)
	if c.Topic.Name != "" && c.Topic.Name != c.ID {
		d.fail(p.at("topic"), "a product is named after its topic", "topic is %q, id is %q", c.Topic.Name, c.ID)
	}
	c.Topic.Partitions = p.integer("partitions", true, 1, 10_000)
	c.Subject = p.text("subject", true)
	if c.Subject != "" && c.Subject != c.ID+"-value" {
		d.fail(p.at("subject"), "write "+c.ID+"-value", "subject is %q", c.Subject)
	}
	c.Compatibility = p.oneOf("compatibility", compatibilities)
	c.MessageKey = p.text("messageKey", true)
	c.Topic.Partitioner = defaultPartitioner
	if _, ok := p.find("partitioner"); ok {
		c.Topic.Partitioner = p.oneOf("partitioner", partitioners)
	}
	c.Topic.CleanupPolicy = p.oneOf("cleanupPolicy", []string{"delete", "compact", "compact,delete"})
	c.Topic.MaxMessageBytes = p.integer("maxMessageBytes", false, 1024, 1<<30)
	c.DeadLetterRate = p.share("deadLetterRate")
}

var (
	identifier  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$`)
	partitioned = regexp.MustCompile(`^(toYYYYMM|toYYYYMMDD|toDate|toMonday|toStartOfHour)\(([A-Za-z_][A-Za-z0-9_]*)\)$`)
)

func (d *decoder) clickhouse(c *Contract, s wireServer, p *customs) {
	sink := &Sink{Database: s.Database}
	c.Sink = sink
	sink.Table = p.text("table", true)
	if sink.Table != "" && sink.Table != tableName(c.ID) {
		d.fail(p.at("table"), "write "+tableName(c.ID), "table is %q", sink.Table)
	}
	sink.OrderBy = p.words("orderBy")
	for _, column := range sink.OrderBy {
		if !identifier.MatchString(column) {
			d.fail(p.at("orderBy"), "list column names", "orderBy has %q, which is no column", column)
		}
	}
	sink.PartitionBy = p.text("partitionBy", true)
	if m := partitioned.FindStringSubmatch(sink.PartitionBy); m != nil {
		sink.TimeColumn = m[2]
	} else if sink.PartitionBy != "" {
		d.fail(p.at("partitionBy"), "write toYYYYMMDD(<time column>), toYYYYMM, toDate, toMonday or toStartOfHour", "partitionBy is %q", sink.PartitionBy)
	}
	sink.TTLDays = p.integer("ttlDays", true, 1, 36_500)
	sink.MaxPartsPerSecond = p.integer("maxPartsPerSecond", true, 1, 1_000)
}

func (d *decoder) fields(properties []wireProperty, pointer string) []Field {
	fields := make([]Field, 0, len(properties))
	seen := map[string]bool{}
	for i, p := range properties {
		at := fmt.Sprintf("%s/%d", pointer, i)
		if seen[p.Name] {
			d.fail(at, "remove one", "field %s is listed twice", p.Name)
		}
		seen[p.Name] = true
		fields = append(fields, d.field(p, at))
	}
	return fields
}

func (d *decoder) field(p wireProperty, at string) Field {
	f := Field{
		Name: p.Name, Description: p.Description, LogicalType: p.LogicalType, PhysicalType: p.PhysicalType,
		// An array's items that say nothing are never null; a field has to say it, by the form.
		Required: p.Required == nil || *p.Required, Classification: p.Classification, Minimum: p.LogicalTypeOptions.Minimum, Maximum: p.LogicalTypeOptions.Maximum, pointer: at,
	}
	custom := d.custom(p.CustomProperties, at)
	f.Column.LowCardinality = custom.boolean("clickhouse.lowCardinality")
	if _, ok := custom.find("clickhouse.nullAs"); ok {
		text := custom.text("clickhouse.nullAs", false)
		f.Column.NullAs = &text
	}
	if _, ok := custom.find("onViolation"); ok {
		f.OnViolation = custom.oneOf("onViolation", []string{"block", "divert", "count"})
	}
	custom.rest()
	d.fieldRules(f, p.LogicalTypeOptions, at)
	f.Quality = qualityRules(p.Quality)
	f.Fields = d.fields(p.Properties, at+"/properties")
	if p.Items != nil {
		items := d.field(*p.Items, at+"/items")
		f.Items = &items
	}
	return f
}

// qualityRules writes each rule in one way, so that two can be compared.
func qualityRules(rules []map[string]any) []string {
	var out []string
	for _, r := range rules {
		r = maps.Clone(r)
		for _, words := range []string{"id", "name", "description", "businessImpact", "tags"} {
			delete(r, words)
		}
		if text, err := json.Marshal(r); err == nil {
			out = append(out, string(text))
		}
	}
	return out
}

func collectColumns(columns map[string]Column, prefix string, fields []Field) {
	for _, f := range fields {
		if f.Column.LowCardinality || f.Column.NullAs != nil {
			columns[prefix+f.Name] = f.Column
		}
		collectColumns(columns, prefix+f.Name+".", f.Fields)
	}
}

// customs reads the custom properties of one place and notices those that nobody asked for.
type customs struct {
	d       *decoder
	pointer string
	list    []wireCustom
	asked   map[string]bool
}

func (d *decoder) custom(list []wireCustom, pointer string) *customs {
	c := &customs{d: d, pointer: pointer + "/customProperties", list: list, asked: map[string]bool{}}
	seen := map[string]bool{}
	for i, p := range list {
		if seen[p.Property] {
			d.fail(fmt.Sprintf("%s/%d", c.pointer, i), "remove one", "custom property %s stands twice", p.Property)
		}
		seen[p.Property] = true
	}
	return c
}

func (c *customs) find(name string) (any, bool) {
	c.asked[name] = true
	i := slices.IndexFunc(c.list, func(p wireCustom) bool { return p.Property == name })
	if i < 0 {
		return nil, false
	}
	return c.list[i].Value, true
}

func (c *customs) at(name string) string {
	if i := slices.IndexFunc(c.list, func(p wireCustom) bool { return p.Property == name }); i >= 0 {
		return c.pointer + "/" + strconv.Itoa(i)
	}
	return c.pointer
}

func (c *customs) require(name string, required bool) (any, bool) {
	v, ok := c.find(name)
	if !ok && required {
		c.d.fail(c.pointer, "add {property: "+name+", value: …}", "custom property %s is missing", name)
	}
	return v, ok
}

func (c *customs) text(name string, required bool) string {
	v, ok := c.require(name, required)
	if !ok {
		return ""
	}
	s, ok := v.(string)
	if !ok || (required && s == "") {
		c.d.fail(c.at(name), "write a text", "custom property %s is %s", name, short(v))
	}
	return s
}

func (c *customs) oneOf(name string, words []string) string {
	s := c.text(name, true)
	if s != "" && !slices.Contains(words, s) {
		c.d.fail(c.at(name), "write one of "+strings.Join(words, ", "), "%s is %q", name, s)
	}
	return s
}

func (c *customs) integer(name string, required bool, least, most int) int {
	v, ok := c.require(name, required)
	if !ok {
		return 0
	}
	f, ok := v.(float64)
	if !ok || f != math.Trunc(f) || f < float64(least) || f > float64(most) {
		c.d.fail(c.at(name), fmt.Sprintf("write a whole number from %d to %d", least, most), "%s is %s", name, short(v))
		return 0
	}
	return int(f)
}

func (c *customs) share(name string) float64 {
	v, ok := c.require(name, true)
	if !ok {
		return 0
	}
	f, ok := v.(float64)
	if !ok || f < 0 || f > 1 {
		c.d.fail(c.at(name), "write a share from 0 to 1 (0.01 is one record in a hundred)", "%s is %s", name, short(v))
	}
	return f
}

func (c *customs) boolean(name string) bool {
	v, ok := c.find(name)
	b, isBool := v.(bool)
	if ok && !isBool {
		c.d.fail(c.at(name), "write true or false", "%s is %s", name, short(v))
	}
	return b
}

func (c *customs) words(name string) []string {
	v, ok := c.require(name, true)
	if !ok {
		return nil
	}
	list, isList := v.([]any)
	var words []string
	for _, item := range list {
		s, isText := item.(string)
		if !isText {
			isList = false
			break
		}
		words = append(words, s)
	}
	if !isList || len(words) == 0 {
		c.d.fail(c.at(name), "write a list of names: [venue, symbol]", "%s is %s", name, short(v))
		return nil
	}
	return words
}

// severities of single rules, by name.
func (c *customs) severities() rule.Overrides {
	const name = "severities"
	v, ok := c.find(name)
	if !ok {
		return nil
	}
	words, ok := v.(map[string]any)
	if !ok {
		c.d.fail(c.at(name), "write {<rule>: breaking|warning|note}", "custom property %s is %s", name, short(v))
		return nil
	}
	overrides := rule.Overrides{}
	for _, r := range slices.Sorted(maps.Keys(words)) {
		at := c.at(name) + "/value/" + escapePointer(r)
		text, _ := words[r].(string)
		if !rule.Rule(r).Waivable() {
			c.d.fail(at, "see the table in services/internal/contract/rule", "severities names %q, which is no rule that a contract can set", r)
		} else if !slices.Contains(rule.Severities(), rule.Severity(text)) {
			c.d.fail(at, fmt.Sprintf("write one of %v", rule.Severities()), "the severity of %s is %s", r, short(words[r]))
		}
		overrides[rule.Rule(r)] = rule.Severity(text)
	}
	return overrides
}

// rest reports custom properties that nothing reads: a misspelt one would otherwise be silently without effect.
func (c *customs) rest() {
	for i, p := range c.list {
		if c.asked[p.Property] {
			continue
		}
		c.d.fail(fmt.Sprintf("%s/%d", c.pointer, i), "check its spelling", "custom property %s means nothing here", p.Property)
	}
}
