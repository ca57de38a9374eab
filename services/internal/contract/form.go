package contract

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// The form of our contracts is a profile of ODCS v3.1.0: whatever it accepts the standard accepts too, and it requires in
// addition what this platform cannot do without.
//
//go:embed contract.schema.json
var contractForm []byte

//go:embed consumer.schema.json
var consumerForm []byte

//go:embed waiver.schema.json
var waiverForm []byte

//go:embed producer.schema.json
var producerForm []byte

//go:embed migration.schema.json
var migrationForm []byte

//go:embed view.schema.json
var viewForm []byte

var compiledForms = sync.OnceValues(func() (map[string]*jsonschema.Schema, error) {
	forms := map[string]*jsonschema.Schema{}
	for name, text := range map[string][]byte{"contract": contractForm, "consumer": consumerForm, "producer": producerForm, "waiver": waiverForm, "migration": migrationForm, "view": viewForm} {
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
		if err != nil {
			return nil, fmt.Errorf("BUG: %s.schema.json is not JSON: %w", name, err)
		}
		compiler := jsonschema.NewCompiler()
		url := "streamforge:" + name
		if err := compiler.AddResource(url, doc); err != nil {
			return nil, fmt.Errorf("BUG: %s.schema.json: %w", name, err)
		}
		if forms[name], err = compiler.Compile(url); err != nil {
			return nil, fmt.Errorf("BUG: %s.schema.json: %w", name, err)
		}
	}
	return forms, nil
})

// fault is a place in a document and what is wrong there.
type fault struct {
	pointer, what, do string
}

// checkForm compares a document with the JSON Schema of its kind and returns what does not fit, without repetitions.
func checkForm(kindOfFile string, value any) ([]fault, error) {
	forms, err := compiledForms()
	if err != nil {
		return nil, err
	}
	err = forms[kindOfFile].Validate(value)
	if err == nil {
		return nil, nil
	}
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return nil, err
	}
	printer := message.NewPrinter(language.English)
	seen := map[fault]bool{}
	var faults []fault
	var collect func(e *jsonschema.ValidationError)
	collect = func(e *jsonschema.ValidationError) {
		for _, cause := range e.Causes {
			collect(cause)
		}
		if len(e.Causes) > 0 {
			return
		}
		f := faultOf(e, printer)
		if !seen[f] {
			seen[f] = true
			faults = append(faults, f)
		}
	}
	collect(invalid)
	sort.Slice(faults, func(i, j int) bool {
		return faults[i].pointer+faults[i].what < faults[j].pointer+faults[j].what
	})
	return faults, nil
}

func faultOf(e *jsonschema.ValidationError, printer *message.Printer) fault {
	var pointer strings.Builder
	for _, part := range e.InstanceLocation {
		pointer.WriteString("/" + escapePointer(part))
	}
	at := "the file"
	if len(e.InstanceLocation) > 0 {
		at = strings.Join(e.InstanceLocation, ".")
	}
	f := fault{pointer: pointer.String()}
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		f.what, f.do = fmt.Sprintf("%s lacks %s", at, strings.Join(k.Missing, ", ")), "add it"
	case *kind.AdditionalProperties:
		f.what, f.do = fmt.Sprintf("%s has no property %s", at, strings.Join(k.Properties, ", ")), "see the form in services/internal/contract/contract.schema.json; what the standard does not know goes into customProperties"
		if len(k.Properties) > 0 {
			f.pointer += "/" + escapePointer(k.Properties[0])
		}
	case *kind.Const:
		f.what, f.do = fmt.Sprintf("%s is %s", at, short(k.Got)), "write "+short(k.Want)
	case *kind.Enum:
		f.what, f.do = fmt.Sprintf("%s is %s", at, short(k.Got)), "write one of "+shortList(k.Want)
	case *kind.Type:
		f.what, f.do = fmt.Sprintf("%s is of type %s", at, k.Got), "write a "+strings.Join(k.Want, " or a ")
	case *kind.Pattern:
		f.what, f.do = fmt.Sprintf("%s is %q", at, short(k.Got)), "it must match "+k.Want
	default:
		f.what = fmt.Sprintf("%s: %s", at, strings.ReplaceAll(e.ErrorKind.LocalizedString(printer), "\n", " "))
	}
	return f
}

// short is a value in few characters, on one line.
func short(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	s := strings.Trim(string(text), `"`)
	if len(s) > 60 {
		s = strings.ToValidUTF8(s[:60], "") + "…"
	}
	return s
}

func shortList(values []any) string {
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = short(v)
	}
	return strings.Join(words, ", ")
}
