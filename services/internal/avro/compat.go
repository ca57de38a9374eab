package avro

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// IncompatibilityType says in which way a reader cannot read what a writer wrote.
type IncompatibilityType string

// The kinds of incompatibility, as Avro's Java library and the registries name them.
const (
	NameMismatch                   IncompatibilityType = "NAME_MISMATCH"
	FixedSizeMismatch              IncompatibilityType = "FIXED_SIZE_MISMATCH"
	MissingEnumSymbols             IncompatibilityType = "MISSING_ENUM_SYMBOLS"
	ReaderFieldMissingDefaultValue IncompatibilityType = "READER_FIELD_MISSING_DEFAULT_VALUE"
	TypeMismatch                   IncompatibilityType = "TYPE_MISMATCH"
	MissingUnionBranch             IncompatibilityType = "MISSING_UNION_BRANCH"
)

// Incompatibility is one reason why a reader cannot read what a writer wrote.
type Incompatibility struct {
	Type IncompatibilityType
	// Location is the place in the reader's schema as a JSON pointer over positions: "/fields/1/type".
	Location string
	// Message is the Java library's: what was expected, which symbols are missing, which field.
	Message string
	// Reader and Writer are the parts of the two schemas that do not fit.
	Reader, Writer *Schema
}

// AmbiguousFieldError is the one thing that the rules refuse to judge: a reader's field whose name and aliases fit several
// of the writer's fields. A registry counts it as incompatible.
type AmbiguousFieldError struct {
	Field  string
	Writer *Schema
}

func (e *AmbiguousFieldError) Error() string {
	return fmt.Sprintf("Reader record field %s matches multiple fields in writer record schema %s", e.Field, e.Writer)
}

// Incompatibilities lists every reason why data written with writer cannot be read with reader, in the order in which the
// Java library finds them; none means that it can be read.
func Incompatibilities(reader, writer *Schema) (found []Incompatibility, err error) {
	defer catchAmbiguous(&err)
	c := checker{memo: map[pair]*verdict{}}
	return c.check("", reader, writer, nil).found, nil
}

// catchAmbiguous, deferred, makes an error of lookupWriterField's panic. Any other panic goes on: taken for an answer, it would
// say that everything is compatible.
func catchAmbiguous(err *error) {
	switch r := recover().(type) {
	case nil:
	case *AmbiguousFieldError:
		*err = r
	default:
		panic(r)
	}
}

// CanRead returns nil when data written with writer can be read with reader, and otherwise an error that names every
// reason. Both are texts of self-contained schemas.
func CanRead(reader, writer string) error {
	r, err := Parse(reader, nil, KeepInvalidDefaults())
	if err != nil {
		return fmt.Errorf("reader: %w", err)
	}
	w, err := Parse(writer, nil, KeepInvalidDefaults())
	if err != nil {
		return fmt.Errorf("writer: %w", err)
	}
	found, err := Incompatibilities(r, w)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return nil
	}
	reasons := make([]string, len(found))
	for i, f := range found {
		reasons[i] = fmt.Sprintf("%s at %s: %s", f.Type, f.Location, f.Message)
	}
	return fmt.Errorf("%s written by %s cannot be read with %s: %s", "data", w.FullName(), r.FullName(), strings.Join(reasons, "; "))
}

// pair is compared by identity, as in the Java library: the same two nodes met again get the answer of the first time,
// with the location of the first time.
type pair struct{ reader, writer *Schema }

type verdict struct {
	inProgress bool
	found      []Incompatibility
}

var compatible = &verdict{}

func (v *verdict) with(other *verdict) *verdict {
	switch {
	case len(other.found) == 0:
		return v
	case len(v.found) == 0:
		return other
	}
	return &verdict{found: append(slices.Clip(v.found), other.found...)}
}

type checker struct {
	memo map[pair]*verdict
}

func (c *checker) check(token string, reader, writer *Schema, location []string) *verdict {
	location = append(slices.Clip(location), token)
	key := pair{reader, writer}
	if known := c.memo[key]; known != nil {
		if known.inProgress {
			return compatible // compatible unless proven otherwise further up
		}
		return known
	}
	c.memo[key] = &verdict{inProgress: true}
	result := c.calculate(reader, writer, location)
	c.memo[key] = result
	return result
}

func (c *checker) calculate(reader, writer *Schema, location []string) *verdict {
	if reader.Type == writer.Type {
		return c.sameType(reader, writer, location)
	}
	if writer.Type == Union {
		result := compatible
		for i, branch := range writer.Branches {
			result = result.with(c.check(strconv.Itoa(i), reader, branch, location))
		}
		return result
	}
	if reader.Type == Union {
		for _, branch := range reader.Branches {
			if len(c.check("", branch, writer, nil).found) == 0 {
				return compatible
			}
		}
		return missingBranch(reader, writer, writer.Type, location)
	}
	if promotes(reader.Type, writer.Type) {
		return compatible
	}
	message := fmt.Sprintf("reader type: %s not compatible with writer type: %s", reader.Type, writer.Type)
	return incompatible(TypeMismatch, reader, writer, message, location)
}

// promotes tells whether a reader's type takes in a writer's narrower one.
func promotes(reader, writer Type) bool {
	switch reader {
	case Long:
		return writer == Int
	case Float:
		return writer == Int || writer == Long
	case Double:
		return writer == Int || writer == Long || writer == Float
	case Bytes:
		return writer == String
	case String:
		return writer == Bytes
	default:
		return false
	}
}

func (c *checker) sameType(reader, writer *Schema, location []string) *verdict {
	switch reader.Type {
	case Array:
		return c.check("items", reader.Items, writer.Items, location)
	case Map:
		return c.check("values", reader.Items, writer.Items, location)
	case Fixed:
		return checkNames(reader, writer, location).with(checkSize(reader, writer, location))
	case Enum:
		return checkNames(reader, writer, location).with(checkSymbols(reader, writer, location))
	case Record:
		return checkNames(reader, writer, location).with(c.checkFields(reader, writer, location))
	case Union:
		result := compatible
		for i, branch := range writer.Branches {
			// What is wrong inside a branch is not reported, only that the branch cannot be read: the registry's own words.
			if len(c.check("", reader, branch, nil).found) > 0 {
				result = result.with(missingBranch(reader, writer, branch.Type, append(slices.Clip(location), strconv.Itoa(i))))
			}
		}
		return result
	default:
		return compatible
	}
}

func (c *checker) checkFields(reader, writer *Schema, location []string) *verdict {
	result := compatible
	for i, f := range reader.Fields {
		place := append(slices.Clip(location), "fields", strconv.Itoa(i))
		written := lookupWriterField(f, writer)
		switch {
		case written != nil:
			result = result.with(c.check("type", f.Type, written.Type, place))
		case f.fallback != nil:
		case f.Type.Type == Enum && f.Type.EnumDefault != "":
			// The Java library compares the enum with the whole record here, which can never fit; so does the registry.
			result = result.with(c.check("type", f.Type, writer, place))
		default:
			result = result.with(incompatible(ReaderFieldMissingDefaultValue, reader, writer, f.Name, place))
		}
	}
	return result
}

// lookupWriterField finds the writer's field for a reader's field, by name and by the reader's aliases.
func lookupWriterField(f *Field, writer *Schema) *Field {
	found := writer.Field(f.Name)
	for _, alias := range f.Aliases {
		other := writer.Field(alias)
		if other == nil {
			continue
		}
		if found != nil {
			panic(&AmbiguousFieldError{f.Name, writer})
		}
		found = other
	}
	return found
}

func checkNames(reader, writer *Schema, location []string) *verdict {
	// The namespace does not count; an alias does only with its full name.
	if reader.Name == writer.Name || contains(reader.Aliases, writer.FullName()) {
		return compatible
	}
	return incompatible(NameMismatch, reader, writer, "expected: "+writer.FullName(), append(slices.Clip(location), "name"))
}

func checkSize(reader, writer *Schema, location []string) *verdict {
	if reader.Size == writer.Size {
		return compatible
	}
	message := fmt.Sprintf("expected: %d, found: %d", writer.Size, reader.Size)
	return incompatible(FixedSizeMismatch, reader, writer, message, append(slices.Clip(location), "size"))
}

func checkSymbols(reader, writer *Schema, location []string) *verdict {
	var missing []string
	for _, symbol := range writer.Symbols {
		if !contains(reader.Symbols, symbol) {
			missing = append(missing, symbol)
		}
	}
	if len(missing) == 0 || reader.EnumDefault != "" {
		return compatible
	}
	slices.Sort(missing)
	return incompatible(MissingEnumSymbols, reader, writer, "["+strings.Join(missing, ", ")+"]", append(slices.Clip(location), "symbols"))
}

func missingBranch(reader, writer *Schema, lacking Type, location []string) *verdict {
	return incompatible(MissingUnionBranch, reader, writer, "reader union lacking writer type: "+lacking.String(), location)
}

func incompatible(t IncompatibilityType, reader, writer *Schema, message string, location []string) *verdict {
	escaped := make([]string, len(location)-1) // the root's token is empty and is left out
	for i, token := range location[1:] {
		escaped[i] = strings.NewReplacer("~", "~0", "/", "~1").Replace(token)
	}
	return &verdict{found: []Incompatibility{{t, "/" + strings.Join(escaped, "/"), message, reader, writer}}}
}
