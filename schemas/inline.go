package schemas

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

var primitives = map[string]bool{
	"null": true, "boolean": true, "int": true, "long": true, "float": true, "double": true, "bytes": true, "string": true,
	"record": true, "error": true, "enum": true, "array": true, "map": true, "fixed": true,
}

// undefined lists the full names that tree uses and does not define, in order of first use.
func undefined(tree any) []string {
	w := walker{defined: map[string]bool{}}
	var missing []string
	seen := map[string]bool{}
	w.visit = func(fullName string) any {
		if !seen[fullName] {
			seen[fullName] = true
			missing = append(missing, fullName)
		}
		return fullName
	}
	w.walk(tree, "")
	// Avro takes a name before its definition, too.
	return slices.DeleteFunc(missing, func(name string) bool { return w.defined[name] })
}

// Inline writes every type that text uses and does not define out at its first use; lookup gives a type's own text by
// full name. A type that lookup does not know is an error that names it.
func Inline(text string, lookup func(fullName string) (string, bool)) (string, error) {
	var tree any
	if err := json.Unmarshal([]byte(text), &tree); err != nil {
		return "", fmt.Errorf("inlining references: schema is not JSON: %w", err)
	}
	w := walker{defined: map[string]bool{}}
	own := walker{defined: map[string]bool{}, visit: func(fullName string) any { return fullName }}
	var failed error
	w.visit = func(fullName string) any {
		if own.defined[fullName] {
			return fullName // it is defined further down
		}
		definition, ok := lookup(fullName)
		if !ok {
			failed = fmt.Errorf("inlining references: type %s is neither defined nor referenced", fullName)
			return fullName
		}
		var sub any
		if err := json.Unmarshal([]byte(definition), &sub); err != nil {
			failed = fmt.Errorf("inlining references: %s is not JSON: %w", fullName, err)
			return fullName
		}
		return w.walk(sub, "")
	}
	own.walk(tree, "")
	tree = w.walk(tree, "")
	if failed != nil {
		return "", failed
	}
	out, err := json.Marshal(tree)
	return string(out), err
}

// walker goes through a schema in the order in which Avro reads it, keeping track of namespaces and definitions.
type walker struct {
	defined map[string]bool
	visit   func(fullName string) any
}

func (w *walker) walk(node any, namespace string) any {
	switch n := node.(type) {
	case string:
		if primitives[n] {
			return n
		}
		fullName := n
		if !strings.Contains(n, ".") && namespace != "" {
			fullName = namespace + "." + n
		}
		if w.defined[fullName] {
			return fullName
		}
		if w.defined[n] {
			return n // a name without a namespace, from within one
		}
		return w.visit(fullName)
	case []any:
		for i := range n {
			n[i] = w.walk(n[i], namespace)
		}
		return n
	case map[string]any:
		return w.walkObject(n, namespace)
	default:
		return node
	}
}

func (w *walker) walkObject(n map[string]any, namespace string) any {
	kind, _ := n["type"].(string)
	switch kind {
	case "record", "error", "enum", "fixed":
		name, _ := n["name"].(string)
		if i := strings.LastIndex(name, "."); i >= 0 {
			namespace = name[:i]
		} else {
			if own, ok := n["namespace"].(string); ok {
				namespace = own
			}
			if namespace != "" {
				name = namespace + "." + name
			}
		}
		w.defined[name] = true
		fields, _ := n["fields"].([]any)
		for _, f := range fields {
			if field, ok := f.(map[string]any); ok {
				field["type"] = w.walk(field["type"], namespace)
			}
		}
	case "array":
		n["items"] = w.walk(n["items"], namespace)
	case "map":
		n["values"] = w.walk(n["values"], namespace)
	default:
		if _, ok := n["type"]; ok {
			n["type"] = w.walk(n["type"], namespace)
		}
	}
	return n
}
