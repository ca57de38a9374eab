package avro

import "fmt"

// errFieldsNotSet is the Java library's answer when a default leads into a record that is still being read.
type errFieldsNotSet struct{ record string }

func (e errFieldsNotSet) Error() string {
	return fmt.Sprintf("the default needs the fields of %s, which are not known yet", e.record)
}

// checkDefault validates the field's default against its type. complete tells which records are finished; nil means those
// whose fields have been read.
func (p *parser) checkDefault(f *Field, complete func(*Schema) bool) error {
	if f.fallback == nil || p.lenient {
		return nil
	}
	if complete == nil {
		complete = func(s *Schema) bool { return s.hasFields }
	}
	valid, err := validDefault(f.Type, f.fallback, complete)
	if err != nil {
		return fmt.Errorf("invalid default for field %s: %w", f.Name, err)
	}
	if !valid {
		return fmt.Errorf("invalid default for field %s: %s not a %s", f.Name, clip(string(appendJSON(nil, f.fallback))), clip(f.Type.String()))
	}
	return nil
}

// validDefault tells whether a JSON value can be a default of the type. A union's default may fit any of its branches:
// Avro 1.12 relaxed the rule that it must fit the first.
func validDefault(s *Schema, v *jsonValue, complete func(*Schema) bool) (bool, error) {
	if v == nil {
		return false, nil
	}
	switch s.Type {
	case String, Bytes, Enum, Fixed:
		return v.kind == jsonString, nil
	case Int:
		return v.fits(32), nil
	case Long:
		return v.fits(64), nil
	case Float, Double:
		return v.kind == jsonNumber, nil
	case Boolean:
		return v.kind == jsonTrue || v.kind == jsonFalse, nil
	case Null:
		return v.kind == jsonNull, nil
	case Array:
		return validItems(s, v, complete)
	case Map:
		return validValues(s, v, complete)
	case Union:
		for _, branch := range s.Branches {
			if valid, err := validDefault(branch, v, complete); valid || err != nil {
				return valid, err
			}
		}
		return false, nil
	default:
		return validRecord(s, v, complete)
	}
}

func validItems(s *Schema, v *jsonValue, complete func(*Schema) bool) (bool, error) {
	if v.kind != jsonArray {
		return false, nil
	}
	for i := range v.items {
		if valid, err := validDefault(s.Items, &v.items[i], complete); !valid || err != nil {
			return false, err
		}
	}
	return true, nil
}

func validValues(s *Schema, v *jsonValue, complete func(*Schema) bool) (bool, error) {
	if v.kind != jsonObject {
		return false, nil
	}
	for i := range v.members {
		if valid, err := validDefault(s.Items, &v.members[i].value, complete); !valid || err != nil {
			return false, err
		}
	}
	return true, nil
}

func validRecord(s *Schema, v *jsonValue, complete func(*Schema) bool) (bool, error) {
	if v.kind != jsonObject {
		return false, nil
	}
	if !complete(s) {
		return false, errFieldsNotSet{s.FullName()}
	}
	for _, f := range s.Fields {
		value := v.get(f.Name)
		if value == nil {
			value = f.fallback
		}
		if valid, err := validDefault(f.Type, value, complete); !valid || err != nil {
			return false, err
		}
	}
	return true, nil
}
