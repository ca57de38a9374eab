package contract

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/streamforge/streamforge/schemas"
)

// avroField is a field of a schema, reduced to what a contract says about it.
type avroField struct {
	name          string
	logicalType   string
	physicalTypes []string // accepted spellings, the preferred first
	nullable      bool
	fields        []avroField
	items         *avroField
}

// avroFields lists the fields of a record schema, references written out.
func avroFields(text string) ([]avroField, error) {
	var tree any
	if err := json.Unmarshal([]byte(text), &tree); err != nil {
		return nil, fmt.Errorf("schema is not JSON: %w", err)
	}
	r := avroReader{named: map[string]map[string]any{}}
	record, ok := tree.(map[string]any)
	if !ok || record["type"] != "record" {
		return nil, fmt.Errorf("the schema is no record")
	}
	r.define(record, "")
	return r.record(record, "", 0), nil
}

// avroReader remembers the named types that it has met, for later uses by name. The schema itself was checked by the engine
// that registers it; what is odd here only has to end as a readable difference.
type avroReader struct {
	named map[string]map[string]any
}

func (r *avroReader) define(t map[string]any, namespace string) (full, inner string) {
	name, _ := t["name"].(string)
	if ns, ok := t["namespace"].(string); ok {
		namespace = ns
	}
	full = name
	if !strings.Contains(name, ".") && namespace != "" {
		full = namespace + "." + name
	}
	if cut := strings.LastIndexByte(full, '.'); cut >= 0 {
		namespace = full[:cut]
	}
	r.named[full] = t
	return full, namespace
}

func (r *avroReader) record(t map[string]any, namespace string, depth int) []avroField {
	_, namespace = r.define(t, namespace)
	list, _ := t["fields"].([]any)
	var fields []avroField
	for _, item := range list {
		f, ok := item.(map[string]any)
		if !ok || depth > maxDepth {
			continue
		}
		field := r.typeOf(f["type"], namespace, depth+1)
		field.name, _ = f["name"].(string)
		fields = append(fields, field)
	}
	return fields
}

var logicalOfPrimitive = map[string]string{
	"boolean": "boolean", "int": "integer", "long": "integer", "float": "number", "double": "number", "bytes": "string", "string": "string", "null": "string",
}

func (r *avroReader) typeOf(t any, namespace string, depth int) avroField {
	switch t := t.(type) {
	case string:
		if logical, ok := logicalOfPrimitive[t]; ok {
			return avroField{logicalType: logical, physicalTypes: []string{t}}
		}
		full := t
		if !strings.Contains(t, ".") && namespace != "" {
			full = namespace + "." + t
		}
		if definition, ok := r.named[full]; ok && depth < maxDepth {
			return r.complex(definition, namespaceOf(full), depth)
		}
		return avroField{logicalType: "object", physicalTypes: []string{"record(" + full + ")"}}
	case []any:
		return r.union(t, namespace, depth)
	case map[string]any:
		return r.complex(t, namespace, depth)
	}
	return avroField{physicalTypes: []string{fmt.Sprint(t)}}
}

func (r *avroReader) union(branches []any, namespace string, depth int) avroField {
	var others []avroField
	nullable := false
	for _, b := range branches {
		if b == "null" {
			nullable = true
			continue
		}
		others = append(others, r.typeOf(b, namespace, depth))
	}
	if len(others) == 1 {
		others[0].nullable = nullable
		return others[0]
	}
	names := make([]string, len(others))
	for i, o := range others {
		names[i] = o.physicalTypes[0]
	}
	return avroField{logicalType: "object", physicalTypes: []string{"union(" + strings.Join(names, ",") + ")"}, nullable: nullable}
}

func (r *avroReader) complex(t map[string]any, namespace string, depth int) avroField {
	base, _ := t["type"].(string)
	logical, _ := t["logicalType"].(string)
	switch base {
	case "record", "error":
		full, _ := r.define(t, namespace)
		short := full[strings.LastIndexByte(full, '.')+1:]
		return avroField{logicalType: "object", physicalTypes: []string{"record(" + full + ")", "record(" + short + ")"}, fields: r.record(t, namespace, depth)}
	case "enum":
		r.define(t, namespace)
		return avroField{logicalType: "string", physicalTypes: []string{"enum(" + strings.Join(wordsOf(t["symbols"]), ",") + ")"}}
	case "fixed":
		r.define(t, namespace)
		return logicalField(avroField{logicalType: "string", physicalTypes: []string{fmt.Sprintf("fixed(%v)", t["size"])}}, logical, t)
	case "array":
		items := r.typeOf(t["items"], namespace, depth+1)
		return avroField{logicalType: "array", physicalTypes: []string{"array"}, items: &items}
	case "map":
		values := r.typeOf(t["values"], namespace, depth+1)
		return avroField{logicalType: "object", physicalTypes: []string{"map(" + values.physicalTypes[0] + ")"}}
	}
	return logicalField(r.typeOf(t["type"], namespace, depth+1), logical, t)
}

// logicalField adds Avro's logical type to a plain one: "long.timestamp-micros", "bytes.decimal(38,18)".
func logicalField(f avroField, logical string, t map[string]any) avroField {
	switch {
	case logical == "":
		return f
	case logical == "decimal":
		scale := t["scale"]
		if scale == nil {
			scale = 0
		}
		f.logicalType = "number"
		logical = fmt.Sprintf("decimal(%v,%v)", t["precision"], scale)
	case strings.Contains(logical, "timestamp-"):
		f.logicalType = "timestamp"
	case logical == "date":
		f.logicalType = "date"
	case strings.HasPrefix(logical, "time-"):
		f.logicalType = "time"
	}
	f.physicalTypes = []string{f.physicalTypes[0] + "." + logical}
	return f
}

func namespaceOf(full string) string {
	if cut := strings.LastIndexByte(full, '.'); cut >= 0 {
		return full[:cut]
	}
	return ""
}

func wordsOf(v any) []string {
	list, _ := v.([]any)
	words := make([]string, len(list))
	for i, item := range list {
		words[i] = fmt.Sprint(item)
	}
	return words
}

// selfContained writes the references of a subject out, from the same set of schemas.
func selfContained(s schemas.Subject, all []schemas.Subject) (string, error) {
	byName := make(map[string]string, len(all))
	for _, other := range all {
		byName[other.Name] = other.Text
	}
	return schemas.Inline(s.Text, func(fullName string) (string, bool) {
		text, ok := byName[fullName]
		return text, ok
	})
}
