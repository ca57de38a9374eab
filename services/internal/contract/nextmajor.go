package contract

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/streamforge/streamforge/services/internal/avro"
)

// NextID is the id of the product's next major version.
func (c Contract) NextID() string {
	id, _, _ := strings.Cut(c.ID, ".v")
	major, _, _ := numbers(c.Version)
	return id + ".v" + strconv.Itoa(major+1)
}

// NextMajor writes the contract of the product's next major version from the text of this one: the names that follow from the
// id, the first version, and the fields of the new schema. What the text says about a field stays as far as the schema
// leaves it; renamed gives the earlier name of a field that has a new one. name is the new file's path below contracts/.
func (c Contract) NextMajor(name string, text []byte, schema *avro.Schema, renamed map[string]string) ([]byte, error) {
	major, _, _ := numbers(c.Version)
	id := c.NextID()
	lines := strings.SplitAfter(string(text), "\n")
	begin, end := propertyLines(lines)
	if begin < 0 {
		return nil, fmt.Errorf("contract %s: no line \"    properties:\" in contracts/%s; its fields cannot be found", c.ID, c.File)
	}
	named := strings.NewReplacer(
		"\nid: "+c.ID+"\n", "\nid: "+id+"\n",
		"\nversion: "+c.Version+"\n", fmt.Sprintf("\nversion: %d.0.0\n", major+1),
		"\ndataProduct: "+c.ID+"\n", "\ndataProduct: "+id+"\n",
		"property: topic, value: "+c.Topic.Name+"}", "property: topic, value: "+id+"}",
		"property: subject, value: "+c.Subject+"}", "property: subject, value: "+id+"-value}",
		"property: table, value: "+tableName(c.ID)+"}", "property: table, value: "+tableName(id)+"}",
		"  - name: "+tableName(c.ID)+"\n", "  - name: "+tableName(id)+"\n",
		"physicalName: "+c.Topic.Name+"\n", "physicalName: "+id+"\n",
		"element: "+tableName(c.ID)+".", "element: "+tableName(id)+".",
	)
	blocks := propertyBlocks(lines[begin:end])
	var out strings.Builder
	out.WriteString(named.Replace(renameFields(strings.Join(lines[:begin], ""), renamed)))
	for _, f := range schema.Fields {
		out.WriteString(nextBlock(c, f, blocks, renamed))
	}
	out.WriteString(named.Replace(renameFields(strings.Join(lines[end:], ""), renamed)))
	if _, problems := Parse(name, []byte(out.String())); len(problems) > 0 {
		return nil, problems
	}
	return []byte(out.String()), nil
}

// propertyLines finds the lines of the fields: those below the schema's properties.
func propertyLines(lines []string) (begin, end int) {
	begin = slices.IndexFunc(lines, func(l string) bool { return strings.TrimRight(l, " \n") == "    properties:" }) + 1
	if begin == 0 {
		return -1, -1
	}
	end = begin
	for end < len(lines) && (strings.HasPrefix(lines[end], "      ") || strings.TrimSpace(lines[end]) == "") {
		end++
	}
	return begin, end
}

var blockName = regexp.MustCompile(`^      - (?:\{)?name: "?([A-Za-z_][A-Za-z0-9_]*)`)

// propertyBlocks are the lines of each field, by its name.
func propertyBlocks(lines []string) map[string]string {
	blocks := map[string]string{}
	current := ""
	for _, line := range lines {
		if m := blockName.FindStringSubmatch(line); m != nil {
			current = m[1]
		}
		blocks[current] += line
	}
	return blocks
}

var fieldWords = regexp.MustCompile(`(?m)^.*\b(?:orderBy|partitionBy|arguments|element)\b.*$`)

// renameFields gives fields their new names in the lines that name some.
func renameFields(text string, renamed map[string]string) string {
	return fieldWords.ReplaceAllStringFunc(text, func(line string) string {
		for after, before := range renamed {
			line = regexp.MustCompile(`\b`+regexp.QuoteMeta(before)+`\b`).ReplaceAllLiteralString(line, after)
		}
		return line
	})
}

// nextBlock are a field's lines: those that there are where they still say what the schema says, with another name or another
// type on top where only these differ, and new ones for anything else.
func nextBlock(c Contract, f *avro.Field, blocks map[string]string, renamed map[string]string) string {
	want := avroReader{}.typeOf(f.Type)
	for _, name := range []string{f.Name, renamed[f.Name]} {
		block, have := blocks[name], findField(c.Fields, name)
		if name == "" || block == "" || have == nil {
			continue
		}
		want.name = name
		if a := (agreement{contract: c}); a.agrees(*have, want) {
			return strings.Replace(block, "name: "+name, "name: "+f.Name, 1)
		}
		if want.fields == nil && want.items == nil && len(have.Fields) == 0 && have.Items == nil && typeLine.MatchString(block) {
			block = strings.Replace(block, "name: "+name, "name: "+f.Name, 1)
			block = typeLine.ReplaceAllString(block, "${1}physicalType: "+quoteType(want.physicalTypes[0]))
			block = logicalLine.ReplaceAllString(block, "${1}logicalType: "+want.logicalType)
			return requiredLine.ReplaceAllString(block, "${1}required: "+strconv.FormatBool(!want.nullable))
		}
	}
	return property(f, "      ")
}

var (
	typeLine     = regexp.MustCompile(`(?m)^( +)physicalType: .*$`)
	logicalLine  = regexp.MustCompile(`(?m)^( +)logicalType: .*$`)
	requiredLine = regexp.MustCompile(`(?m)^( +)required: .*$`)
)

func (a *agreement) agrees(f Field, w avroField) bool {
	a.field("", f, w)
	return len(a.problems) == 0
}

// quoteType puts a type in quotes where YAML would read more than a word.
func quoteType(t string) string {
	if strings.ContainsAny(t, "(),[]{} ") {
		return strconv.Quote(t)
	}
	return t
}

// property writes a field of a schema as a contract lists it.
func property(f *avro.Field, indent string) string {
	s := indent + "- name: " + f.Name + "\n"
	inner := indent + "  "
	doc := f.Doc
	if doc == "" {
		doc = "Undocumented: say what " + f.Name + " is."
	}
	s += inner + "description: " + strconv.Quote(doc) + "\n"
	want := avroReader{}.typeOf(f.Type)
	s += typeLines(f.Type, inner)
	return strings.Replace(s, "physicalType: "+quoteType(want.physicalTypes[0])+"\n", "physicalType: "+quoteType(want.physicalTypes[0])+"\n"+inner+"required: "+strconv.FormatBool(!want.nullable)+"\n", 1)
}

// typeLines write a type, and what is in it.
func typeLines(s *avro.Schema, indent string) string {
	want := avroReader{}.typeOf(s)
	text := indent + "logicalType: " + want.logicalType + "\n" + indent + "physicalType: " + quoteType(want.physicalTypes[0]) + "\n"
	inside := withoutNull(s)
	if inside.Type == avro.Map {
		inside = withoutNull(inside.Items)
	}
	switch {
	case inside.Type == avro.Record && want.fields != nil:
		text += indent + "properties:\n"
		for _, f := range inside.Fields {
			text += property(f, indent+"  ")
		}
	case inside.Type == avro.Array && want.items != nil:
		text += indent + "items:\n" + typeLines(inside.Items, indent+"  ")
		if want.items.nullable {
			text += indent + "  required: false\n"
		}
	}
	return text
}
