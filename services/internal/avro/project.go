package avro

import (
	"fmt"
	"strings"

	twmb "github.com/twmb/avro"
)

// Projection turns a body written with one schema into the body that another schema would have written for it. It appends
// to dst; when the schemas are equal it returns body itself, without a copy. It is safe for concurrent use.
type Projection func(dst, body []byte) ([]byte, error)

// NewProjection makes the Projection from writer to reader, both texts of self-contained schemas. It refuses a pair that
// Avro's rules refuse, and also one that the rules pass but that would be misread: another logical type, or another scale
// of a decimal.
func NewProjection(writer, reader string) (projection Projection, err error) {
	w, err := Parse(writer, nil, KeepInvalidDefaults())
	if err != nil {
		return nil, fmt.Errorf("writer: %w", err)
	}
	if writer == reader {
		return unchanged, nil
	}
	r, err := Parse(reader, nil, KeepInvalidDefaults())
	if err != nil {
		return nil, fmt.Errorf("reader: %w", err)
	}
	defer catchAmbiguous(&err)
	if layout(w) == layout(r) {
		if err := sameMeaning(r, w, "", map[pair]bool{}); err != nil {
			return nil, err
		}
		return unchanged, nil
	}
	if err := CanRead(reader, writer); err != nil {
		return nil, err
	}
	if err := sameMeaning(r, w, "", map[pair]bool{}); err != nil {
		return nil, err
	}
	return throughValues(w, r)
}

func unchanged(_, body []byte) ([]byte, error) { return body, nil }

// throughValues decodes with the library's resolution and encodes again. Logical types are left out for it: the numbers and
// bytes then pass untouched, and it does not apply rules of its own to decimals.
func throughValues(w, r *Schema) (Projection, error) {
	from, err := twmb.Parse(bare(w))
	if err != nil {
		return nil, fmt.Errorf("compiling writer %s: %w", w.FullName(), err)
	}
	to, err := twmb.Parse(bare(r))
	if err != nil {
		return nil, fmt.Errorf("compiling reader %s: %w", r.FullName(), err)
	}
	resolved, err := twmb.Resolve(from, to)
	if err != nil {
		return nil, fmt.Errorf("resolving %s: %w", r.FullName(), err)
	}
	return func(dst, body []byte) ([]byte, error) {
		var value any
		rest, err := resolved.Decode(body, &value, twmb.TaggedUnions())
		if err != nil {
			return dst, fmt.Errorf("reading %d bytes of %s: %w", len(body), w.FullName(), err)
		}
		if len(rest) > 0 {
			return dst, fmt.Errorf("reading %d bytes of %s: %d bytes too many", len(body), w.FullName(), len(rest))
		}
		return to.AppendEncode(dst, value, twmb.TaggedUnions())
	}, nil
}

// bare writes the schema without anything that does not change the bytes.
func bare(s *Schema) string {
	w := writer{known: map[string]bool{}, bare: true}
	w.schema(s, "")
	return string(w.out)
}

// layout writes what decides how bytes are laid out and what the values are called; two schemas of one layout need no
// projection.
func layout(s *Schema) string {
	w := writer{known: map[string]bool{}, bare: true, layout: true}
	w.schema(s, "")
	return string(w.out)
}

// sameMeaning finds what Avro's rules do not look at and what would change a value's meaning silently.
func sameMeaning(r, w *Schema, path string, seen map[pair]bool) error {
	if seen[pair{r, w}] {
		return nil
	}
	seen[pair{r, w}] = true
	if r.Type == Union || w.Type == Union {
		return sameMeaningInUnion(r, w, path, seen)
	}
	if a, b := meaning(r), meaning(w); a != b {
		return fmt.Errorf("%s is %s in the data and %s for the reader: it would be misread", strings.TrimPrefix(path, "."), b, a)
	}
	if r.Type != w.Type {
		return nil
	}
	if r.Items != nil {
		return sameMeaning(r.Items, w.Items, path+"[]", seen)
	}
	for _, f := range r.Fields {
		if written := lookupWriterField(f, w); written != nil {
			if err := sameMeaning(f.Type, written.Type, path+"."+f.Name, seen); err != nil {
				return err
			}
		}
	}
	return nil
}

// sameMeaningInUnion compares each branch that was written with the branch that will read it.
func sameMeaningInUnion(r, w *Schema, path string, seen map[pair]bool) error {
	for _, written := range branches(w) {
		for _, read := range branches(r) {
			if read.Type == written.Type && (!read.Named() || read.Name == written.Name) {
				if err := sameMeaning(read, written, path, seen); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func branches(s *Schema) []*Schema {
	if s.Type == Union {
		return s.Branches
	}
	return []*Schema{s}
}

// meaning is the logical type with what belongs to it, or the bare type's class: numbers may be promoted to each other.
func meaning(s *Schema) string {
	if !s.validLogicalType() {
		return "plain"
	}
	if s.LogicalType() != "decimal" {
		return s.LogicalType()
	}
	scale, _ := s.intProperty("scale")
	return fmt.Sprintf("decimal with scale %d", scale)
}
