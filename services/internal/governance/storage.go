package governance

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/streamforge/streamforge/services/internal/clickhouse/ddl"
	"github.com/streamforge/streamforge/services/internal/contract"
)

// engines that keep every row as it was inserted; the last one is ClickHouse Cloud's.
var engines = []string{"MergeTree", "ReplicatedMergeTree", "SharedMergeTree"}

var ttlClause = regexp.MustCompile(` TTL (.*?)( SETTINGS | COMMENT |$)`)

// compareStorage looks at what is not a column: the keys, which ClickHouse cannot change, the TTL and the window in which a
// repeated insert is recognised, which it can.
func compareStorage(p *Plan, spec ddl.Spec, have Table, options ddl.Options) {
	const instead = "make a new table and copy the rows, or set the contract right"
	if plain(have.SortingKey) != plain(spec.OrderBy) {
		p.refuse(KindTable, spec.Table, fmt.Sprintf("the table has ORDER BY (%s), its contract says (%s)", have.SortingKey, spec.OrderBy), instead)
	}
	if plain(have.PartitionKey) != plain(spec.PartitionBy) {
		p.refuse(KindTable, spec.Table, fmt.Sprintf("the table has PARTITION BY %s, its contract says %s", orNone(have.PartitionKey), orNone(spec.PartitionBy)), instead)
	}
	prefix := alterTable(spec, options)
	from := "none"
	if m := ttlClause.FindStringSubmatch(have.EngineFull); m != nil {
		from = m[1]
	}
	// The whole clause is compared: a second rule behind ours would take rows that the contract keeps.
	if days := strconv.Itoa(spec.TTLDays); plain(from) != plain("toDateTime("+spec.TTLColumn+") + toIntervalDay("+days+")") {
		p.step(Step{
			Kind: KindTable, Action: ActionAlter, Object: spec.Table, Setting: "TTL", From: from, To: days + " days after " + spec.TTLColumn,
			What: fmt.Sprintf("TTL: %s → %s days after %s%s", from, days, spec.TTLColumn, rowsGo(from, spec)),
			SQL:  fmt.Sprintf("%s MODIFY TTL toDateTime(%s) + INTERVAL %s DAY", prefix, ddl.QuoteName(spec.TTLColumn), days),
		})
	}
	setting := "non_replicated_deduplication_window"
	if strings.HasPrefix(have.Engine, "Replicated") || strings.HasPrefix(have.Engine, "Shared") {
		setting = "replicated_deduplication_window"
	}
	window := strconv.Itoa(spec.DedupWindow)
	if from := engineSetting(have.EngineFull, setting); from != window {
		p.step(Step{
			Kind: KindTable, Action: ActionAlter, Object: spec.Table, Setting: setting, From: from, To: window,
			What: fmt.Sprintf("%s: %s → %s", setting, from, window), SQL: prefix + " MODIFY SETTING " + setting + " = " + window,
		})
	}
	for _, tuned := range options.Tuning {
		if from := engineSetting(have.EngineFull, tuned.Name); from != tuned.Value {
			p.step(Step{
				Kind: KindTable, Action: ActionAlter, Object: spec.Table, Setting: tuned.Name, From: from, To: tuned.Value,
				What: fmt.Sprintf("%s: %s → %s", tuned.Name, from, tuned.Value), SQL: prefix + " MODIFY SETTING " + tuned.Name + " = " + tuned.Value,
			})
		}
	}
}

var daysAfter = regexp.MustCompile(`^toDateTime\((.*)\)\+toIntervalDay\((\d+)\)$`)

// rowsGo warns of a TTL that may take rows which the table keeps now: any but one that was shorter.
func rowsGo(from string, spec ddl.Spec) string {
	if m := daysAfter.FindStringSubmatch(plain(from)); m != nil && m[1] == spec.TTLColumn {
		if before, err := strconv.Atoi(m[2]); err == nil && before < spec.TTLDays {
			return ""
		}
	}
	return " (older rows go)"
}

// engineSetting is the value of a table's setting, "none" where it has none of its own.
func engineSetting(engineFull, name string) string {
	if m := regexp.MustCompile(`[ ,]` + name + ` = ([^, ]+)`).FindStringSubmatch(engineFull); m != nil {
		return m[1]
	}
	return "none"
}

func alterTable(spec ddl.Spec, options ddl.Options) string {
	prefix := "ALTER TABLE " + spec.Name()
	if options.Cluster != "" {
		prefix += " ON CLUSTER " + ddl.QuoteName(options.Cluster)
	}
	return prefix
}

// compareWords looks at what changes no value: comments, and how columns are compressed. It also takes a TTL off a column,
// which would empty it, and names what else the table has that no contract says.
func (g *Governance) compareWords(p *Plan, c contract.Contract, spec ddl.Spec, have Table) error {
	text, err := g.schemaOf(c)
	if err != nil {
		return err
	}
	wanted, err := ddl.ColumnsOf(text, spec.Columns)
	if err != nil {
		return err
	}
	prefix := alterTable(spec, g.config.DDL)
	step := func(setting, from, to, sql string) {
		p.step(Step{
			Kind: KindTable, Action: ActionAlter, Object: spec.Table, Setting: setting, From: from, To: to,
			What: fmt.Sprintf("%s: %s → %s", setting, orNone(from), orNone(to)), SQL: prefix + " " + sql,
		})
	}
	if have.Comment != spec.Comment {
		step("comment", have.Comment, spec.Comment, "MODIFY COMMENT "+ddl.QuoteString(spec.Comment))
	}
	parts := elements(have.Created)
	for _, column := range wanted {
		i := slices.IndexFunc(have.Columns, func(e ddl.ExistingColumn) bool { return e.Name == column.Name })
		if i < 0 {
			continue // It is about to be added, with all of this.
		}
		name, existing := ddl.QuoteName(column.Name), have.Columns[i]
		if existing.Comment != column.Comment {
			step("comment of "+column.Name, existing.Comment, column.Comment, "COMMENT COLUMN "+name+" "+ddl.QuoteString(column.Comment))
		}
		if from := strings.TrimSuffix(strings.TrimPrefix(existing.Codec, "CODEC("), ")"); from != column.Codec {
			sql := "MODIFY COLUMN " + name + " CODEC(" + column.Codec + ")"
			if column.Codec == "" {
				sql = "MODIFY COLUMN " + name + " REMOVE CODEC"
			}
			step("codec of "+column.Name, from, column.Codec, sql)
		}
		for _, part := range parts {
			if rest, ok := strings.CutPrefix(part, name+" "); ok && strings.Contains(rest, " TTL ") {
				_, ttl, _ := strings.Cut(rest, " TTL ")
				step("TTL of "+column.Name, ttl, "", "MODIFY COLUMN "+name+" REMOVE TTL")
			}
		}
	}
	var deadline, index, projection bool
	for _, part := range parts {
		word, rest, _ := strings.Cut(part, " ")
		name, _, _ := strings.Cut(rest, " ")
		switch word {
		case "CONSTRAINT":
			if name == ddl.DeadlineConstraint {
				deadline = true
				continue
			}
			p.note(KindTable, spec.Table, "constraint %s, which no contract says: it refuses rows; it is left alone", rest)
		case "INDEX", "PROJECTION":
			if word == "INDEX" && name == ddl.OffsetIndex {
				index = true
				continue
			}
			if word == "PROJECTION" && name == ddl.OffsetProjection {
				projection = true
				continue
			}
			p.note(KindTable, spec.Table, "%s %s, which no contract says; it is left alone", strings.ToLower(word), rest)
		}
	}
	if from := engineSetting(have.EngineFull, ddl.ProjectionMode); strings.Trim(from, "'") != ddl.ProjectionModeValue {
		step(ddl.ProjectionMode, from, ddl.ProjectionModeValue, fmt.Sprintf("MODIFY SETTING %s = '%s'", ddl.ProjectionMode, ddl.ProjectionModeValue))
	}
	if sql := ddl.AddLookup(spec, index, projection, g.config.DDL); sql != "" {
		p.step(Step{
			Kind: KindTable, Action: ActionAlter, Object: spec.Table, Setting: "lookup of offsets", From: "none", To: "an index and a projection",
			What: "add what makes the lookup of offsets quick, to every part", SQL: sql,
		})
	}
	if !deadline {
		p.step(Step{
			Kind: KindTable, Action: ActionAlter, Object: spec.Table, Setting: "constraint " + ddl.DeadlineConstraint, From: "none", To: "an insert past its token's deadline is refused",
			What: "add constraint " + ddl.DeadlineConstraint, SQL: ddl.AddDeadline(spec, g.config.DDL),
		})
	}
	return nil
}

var columnStatement = regexp.MustCompile("(ADD|MODIFY|MATERIALIZE) COLUMN (?:IF NOT EXISTS )?`([^`]+)`")

// brief is a statement about a column in few words.
func brief(statement string) string {
	if m := columnStatement.FindStringSubmatch(statement); m != nil {
		return strings.ToLower(m[1]) + " column " + m[2]
	}
	return "alter"
}

// elements are what stands between the outer parentheses of a CREATE TABLE, without the texts in quotes: columns, indexes,
// constraints and projections.
func elements(create string) []string {
	var parts []string
	var part strings.Builder
	depth, quote := 0, byte(0)
	for i := 0; i < len(create); i++ {
		c := create[i]
		switch {
		case quote != 0:
			if c == '\\' {
				i++
				continue
			}
			if c == quote {
				quote = 0
			} else if quote == '\'' {
				continue // What a text says is none of the statement's words.
			}
		case c == '\'' || c == '`':
			quote = c
		case c == '(':
			if depth++; depth == 1 {
				continue
			}
		case c == ')':
			if depth--; depth == 0 {
				return append(parts, strings.TrimSpace(part.String()))
			}
		case c == ',' && depth == 1:
			parts = append(parts, strings.TrimSpace(part.String()))
			part.Reset()
			continue
		}
		if depth > 0 {
			part.WriteByte(c)
		}
	}
	return parts
}

// plain takes quotes, blanks and a pair of parentheses around the whole out, so that only what differs differs.
func plain(expression string) string {
	s := strings.NewReplacer("`", "", " ", "", "\n", "").Replace(expression)
	if len(s) < 2 || s[0] != '(' || s[len(s)-1] != ')' {
		return s
	}
	depth := 0
	for i, c := range s {
		switch c {
		case '(':
			depth++
		case ')':
			depth--
		}
		if depth == 0 && i < len(s)-1 { // (a), (b)
			return s
		}
	}
	return s[1 : len(s)-1]
}
