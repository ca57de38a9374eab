package avro

import (
	"slices"
	"strconv"
)

// String writes the schema as a registry keeps it: the Java library's own form, without white space, every type written
// out where it is first used and by name afterwards. Types that came with the references are written by name only.
func (s *Schema) String() string {
	w := writer{known: map[string]bool{}}
	for name := range s.references {
		w.known[name] = true
	}
	w.schema(s, "")
	return string(w.out)
}

// SelfContained writes the schema like String, with the types of its references written out too.
func (s *Schema) SelfContained() string {
	w := writer{known: map[string]bool{}}
	w.schema(s, "")
	return string(w.out)
}

// Bare writes the schema like SelfContained, without docs and attributes that are not Avro's own, logical types among them:
// what Avro's rules of resolution look at, and nothing else. Between two bare schemas NewProjection does what a plain Avro
// reader does, misreadings included.
func (s *Schema) Bare() string { return bare(s) }

type writer struct {
	out    []byte
	known  map[string]bool
	bare   bool // without docs and attributes that are not Avro's own
	layout bool // also without defaults, aliases and order
}

func (w *writer) schema(s *Schema, namespace string) {
	switch s.Type {
	case Record, Enum, Fixed:
		w.named(s, namespace)
	case Array, Map:
		w.out = append(w.out, `{"type":"`+s.Type.Name()+`"`...)
		if s.Type == Array {
			w.out = append(w.out, `,"items":`...)
		} else {
			w.out = append(w.out, `,"values":`...)
		}
		w.schema(s.Items, namespace)
		w.properties(s.properties)
		w.out = append(w.out, '}')
	case Union:
		w.out = append(w.out, '[')
		for i, branch := range s.Branches {
			if i > 0 {
				w.out = append(w.out, ',')
			}
			w.schema(branch, namespace)
		}
		w.out = append(w.out, ']')
	default:
		if len(s.properties) == 0 || w.bare {
			w.out = append(w.out, `"`+s.Type.Name()+`"`...)
			return
		}
		w.out = append(w.out, `{"type":"`+s.Type.Name()+`"`...)
		w.properties(s.properties)
		w.out = append(w.out, '}')
	}
}

func (w *writer) named(s *Schema, namespace string) {
	if full := s.FullName(); w.known[full] {
		w.out = appendJSONString(w.out, qualified(s.Namespace, s.Name, namespace))
		return
	}
	w.known[s.FullName()] = true
	word := s.Type.Name()
	if s.IsError {
		word = "error"
	}
	w.out = append(w.out, `{"type":"`+word+`"`...)
	w.attribute("name", s.Name)
	if s.Namespace != namespace {
		w.attribute("namespace", s.Namespace)
	}
	if s.HasDoc && !w.bare {
		w.attribute("doc", s.Doc)
	}
	switch s.Type {
	case Record:
		w.fields(s)
	case Enum:
		w.out = append(w.out, `,"symbols":`...)
		w.strings(s.Symbols)
		if s.EnumDefault != "" && !w.layout {
			w.attribute("default", s.EnumDefault)
		}
	default:
		w.out = strconv.AppendInt(append(w.out, `,"size":`...), int64(s.Size), 10)
	}
	w.properties(s.properties)
	if len(s.Aliases) > 0 && !w.layout {
		w.out = append(w.out, `,"aliases":`...)
		w.strings(writtenAliases(s))
	}
	w.out = append(w.out, '}')
}

// writtenAliases are the aliases as the Java library writes them: bare within the type's own namespace.
func writtenAliases(s *Schema) []string {
	out := slices.Clone(s.Aliases)
	for i, alias := range out {
		space, name := splitName(alias)
		out[i] = qualified(space, name, s.Namespace)
	}
	return out
}

func splitName(full string) (namespace, name string) {
	for i := len(full) - 1; i >= 0; i-- {
		if full[i] == '.' {
			return full[:i], full[i+1:]
		}
	}
	return "", full
}

// qualified is a name as it is written inside a namespace. A name that is also a type's word is always written in full.
func qualified(space, name, namespace string) string {
	if space == "" || space != namespace {
		return join(space, name)
	}
	if slices.Contains(typeNames[:], name) {
		return join(space, name)
	}
	return name
}

func (w *writer) fields(s *Schema) {
	w.out = append(w.out, `,"fields":[`...)
	for i, f := range s.Fields {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		w.out = append(w.out, `{"name":`...)
		w.out = appendJSONString(w.out, f.Name)
		w.out = append(w.out, `,"type":`...)
		w.schema(f.Type, s.Namespace)
		if f.HasDoc && !w.bare {
			w.attribute("doc", f.Doc)
		}
		if f.fallback != nil && !w.layout {
			w.out = append(w.out, `,"default":`...)
			w.out = appendJSON(w.out, f.fallback)
		}
		if f.Order != "ascending" && !w.layout {
			w.attribute("order", f.Order)
		}
		if len(f.Aliases) > 0 && !w.layout {
			w.out = append(w.out, `,"aliases":`...)
			w.strings(f.Aliases)
		}
		w.properties(f.properties)
		w.out = append(w.out, '}')
	}
	w.out = append(w.out, ']')
}

func (w *writer) attribute(name, value string) {
	w.out = appendJSONString(append(w.out, ','), name)
	w.out = appendJSONString(append(w.out, ':'), value)
}

func (w *writer) strings(all []string) {
	w.out = append(w.out, '[')
	for i, s := range all {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		w.out = appendJSONString(w.out, s)
	}
	w.out = append(w.out, ']')
}

func (w *writer) properties(all []jsonMember) {
	if w.bare {
		return
	}
	for i := range all {
		w.out = appendJSONString(append(w.out, ','), all[i].name)
		w.out = appendJSON(append(w.out, ':'), &all[i].value)
	}
}
