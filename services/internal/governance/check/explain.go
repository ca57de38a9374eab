package check

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/streamforge/streamforge/services/internal/avro"
)

// explain says in a sentence what does not fit, and what to do instead.
func explain(d direction, c cause) (reason, do string) {
	place := c.path
	if place == "" {
		place = "the schema"
	} else {
		place = "`" + place + "`"
	}
	switch c.kind {
	case avro.ReaderFieldMissingDefaultValue:
		return missingField(d, c, place)
	case avro.MissingEnumSymbols:
		if d == backward {
			return fmt.Sprintf("%s no longer knows %s, which earlier records hold, and its enum has no default", place, c.message),
				"keep the symbols; or give the enum a default, which such records then read as"
		}
		return fmt.Sprintf("%s has the symbols %s, which readers with an earlier version do not know, and their enum has no default", place, c.message),
			"leave the enum as it is and add a field with a wider enum, which has a default symbol, beside it"
	case avro.FixedSizeMismatch:
		return fmt.Sprintf("%s: %s", place, sides(d, fmt.Sprintf("%d bytes", c.reader.Size), fmt.Sprintf("%d bytes", c.writer.Size))), besides(place)
	case avro.NameMismatch:
		return fmt.Sprintf("%s: the type is named otherwise: %s", place, sides(d, c.reader.FullName(), c.writer.FullName())),
			"keep the type's name; an alias lets the new schema read earlier records, and not the other way round"
	case avro.MissingUnionBranch:
		if d == backward {
			return fmt.Sprintf("%s no longer takes %s, which earlier records hold; it takes %s", place, describe(c.writer), describe(c.reader)), "keep the branch in the union"
		}
		return fmt.Sprintf("%s may now be %s; readers with an earlier version take %s only", place, describe(c.writer), describe(c.reader)), besides(place)
	default:
		return typeMismatch(d, c, place)
	}
}

func missingField(d direction, c cause, place string) (reason, do string) {
	if d == backward {
		return fmt.Sprintf("%s is new and has no default: the new schema cannot read earlier records, which lack it", place),
			fmt.Sprintf("give %s a default", place)
	}
	if successor := renamedTo(c); successor != "" {
		return fmt.Sprintf("%s is gone, it looks renamed to `%s`: readers with an earlier version need it, since it has no default there", place, successor),
			fmt.Sprintf("keep %s and add `%s` with a default beside it; an alias helps new readers only", place, successor)
	}
	return fmt.Sprintf("%s is gone: readers with an earlier version need it, since it has no default there", place),
		fmt.Sprintf("keep %s; a product without it is a new major version with a topic of its own", place)
}

// renamedTo is the new name of a field that is gone: the new record's field that names it as an alias, or the only one that
// is new and of the same type. Empty when there is none.
func renamedTo(c cause) string {
	gone := c.reader.Field(c.message)
	if gone == nil || c.writer.Type != avro.Record {
		return ""
	}
	var alike []string
	for _, f := range c.writer.Fields {
		if slices.Contains(f.Aliases, gone.Name) {
			return f.Name
		}
		if c.reader.Field(f.Name) == nil && f.Type.SelfContained() == gone.Type.SelfContained() {
			alike = append(alike, f.Name)
		}
	}
	if len(alike) != 1 {
		return ""
	}
	return alike[0]
}

// maxSuggestion bounds how long a suggested field may be, in bytes; a longer one helps nobody.
const maxSuggestion = 300

// suggest writes a field that has no default in a way that every level takes. It looks at the newest version that fails, and
// at the candidate's own fields alone: inside of other types the words of the findings have to do.
func suggest(candidate *avro.Schema, failed []avro.VersionVerdict) string {
	if len(failed) == 0 {
		return ""
	}
	renamed := map[string]string{}
	for _, f := range failed[0].Forward {
		if f.Type == avro.ReaderFieldMissingDefaultValue && f.Writer == candidate {
			renamed[renamedTo(cause{reader: f.Reader, writer: f.Writer, message: f.Message})] = f.Message
		}
	}
	for _, f := range failed[0].Backward {
		if f.Type != avro.ReaderFieldMissingDefaultValue || f.Reader != candidate {
			continue
		}
		field := candidate.Field(f.Message)
		text := nullableField(field)
		if text == "" {
			continue
		}
		if old := renamed[field.Name]; old != "" {
			return fmt.Sprintf("keep `%s` and add %s", old, text)
		}
		return "write " + text
	}
	return ""
}

// nullableField is the field's JSON with null as one more type and as its default; empty when it would be too long.
func nullableField(f *avro.Field) string {
	kinds := []string{`"null"`}
	if f.Type.Type != avro.Union {
		kinds = append(kinds, f.Type.String())
	}
	for _, branch := range f.Type.Branches {
		if branch.Type != avro.Null {
			kinds = append(kinds, branch.String())
		}
	}
	kind := "[" + strings.Join(kinds, ",") + "]"
	doc := ""
	if f.Doc != "" {
		doc = fmt.Sprintf(`"doc":%s,`, quoted(f.Doc))
	}
	text := fmt.Sprintf(`{"name":%s,%s"type":%s,"default":null}`, quoted(f.Name), doc, kind)
	if len(text) > maxSuggestion {
		return ""
	}
	return text
}

// quoted writes a text as JSON.
func quoted(s string) string {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(s) // a string always has a JSON form, and a Builder takes everything
	return strings.TrimSpace(b.String())
}

func typeMismatch(d direction, c cause, place string) (reason, do string) {
	switch {
	case d == forward && c.writer.Type == avro.Null:
		return fmt.Sprintf("%s may now be null; readers with an earlier version expect %s", place, describe(c.reader)),
			"leave it never null, and give it a value that says \"unknown\"; or add a nullable field beside it"
	case d == backward && c.writer.Type == avro.Null:
		return fmt.Sprintf("%s may no longer be null, but earlier records hold null", place), "leave it nullable"
	}
	return fmt.Sprintf("%s has another type: %s", place, sides(d, describe(c.reader), describe(c.writer))), besides(place)
}

func besides(place string) string {
	return fmt.Sprintf("leave %s as it is and add a field of the new type, with a default, beside it", place)
}

// sides names the new and the old side of a difference.
func sides(d direction, reader, writer string) string {
	if d == backward {
		return fmt.Sprintf("the new schema reads %s, earlier records hold %s", reader, writer)
	}
	return fmt.Sprintf("new records hold %s, readers with an earlier version expect %s", writer, reader)
}

// maxTypeWords bounds how much of a type a sentence shows, in bytes.
const maxTypeWords = 80

// describe is a type in a few words.
func describe(s *avro.Schema) string {
	switch {
	case s.Type == avro.Union:
		names := make([]string, len(s.Branches))
		for i, b := range s.Branches {
			names[i] = describe(b)
		}
		if len(names) == 1 {
			return names[0]
		}
		return short("one of " + strings.Join(names, ", "))
	case s.Type == avro.Array:
		return short("array of " + describe(s.Items))
	case s.Type == avro.Map:
		return short("map of " + describe(s.Items))
	case s.Named():
		return s.Type.Name() + " " + s.FullName()
	}
	if logical := s.LogicalType(); logical != "" {
		return s.Type.Name() + " (" + logical + ")"
	}
	return s.Type.Name()
}

func short(s string) string {
	if len(s) <= maxTypeWords {
		return s
	}
	return strings.ToValidUTF8(s[:maxTypeWords], "") + "…"
}
