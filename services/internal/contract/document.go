package contract

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// A contract is written by people: what is larger or deeper than this is not one.
const (
	maxFileBytes = 1 << 20
	maxDepth     = 64
)

// document is a YAML file as plain values (what encoding/json would make of it), and the line of every value.
type document struct {
	value any
	// lines by JSON pointer, "" for the root.
	lines map[string]int
}

// yamlError is a fault of the YAML itself.
type yamlError struct {
	line int
	what string
}

func (e *yamlError) Error() string { return e.what }

// parseDocument reads one YAML document of plain values. Anchors, aliases, tags and merges are refused: a contract is read
// by other tools and by people, and says each thing where it stands.
func parseDocument(text []byte) (doc *document, err error) {
	if len(text) > maxFileBytes {
		return nil, &yamlError{what: fmt.Sprintf("%d bytes, at most %d are read", len(text), maxFileBytes)}
	}
	if deep(text) {
		return nil, &yamlError{what: fmt.Sprintf("nested deeper than %d levels", maxDepth)}
	}
	// The parser is a library fed with files from pull requests: whatever it does must end as one line about the file.
	defer func() {
		if r := recover(); r != nil {
			doc, err = nil, &yamlError{what: fmt.Sprintf("not YAML (%v)", r)}
		}
	}()
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, parseFault(err)
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		return nil, &yamlError{what: fmt.Sprintf("%d YAML documents, one is expected", len(file.Docs))}
	}
	d := &document{lines: map[string]int{}}
	d.value, err = d.convert(file.Docs[0].Body, "", 0)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// deep bounds nesting before the recursive parser sees the text: in flow style by brackets, in block style by indentation
// (a level of block style costs at least one column, "- - -" two).
func deep(text []byte) bool {
	brackets, deepest := 0, 0
	for _, line := range strings.Split(string(text), "\n") {
		indent := len(line) - len(strings.TrimLeft(line, " -?"))
		if indent > 2*maxDepth {
			return true
		}
		for _, c := range line {
			switch c {
			case '[', '{':
				brackets++
			case ']', '}':
				brackets = max(brackets-1, 0)
			}
			deepest = max(deepest, brackets)
		}
	}
	return deepest > maxDepth
}

var faultPosition = regexp.MustCompile(`^\[(\d+):\d+\] ([^\n]*)`)

// parseFault cuts the library's several lines with a source excerpt down to line and reason.
func parseFault(err error) error {
	if m := faultPosition.FindStringSubmatch(err.Error()); m != nil {
		line, _ := strconv.Atoi(m[1])
		return &yamlError{line: line, what: "not YAML: " + m[2]}
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	return &yamlError{what: "not YAML: " + first}
}

func lineOf(n ast.Node) int {
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line
	}
	return 0
}

func (d *document) convert(n ast.Node, pointer string, depth int) (any, error) {
	if depth > maxDepth {
		return nil, &yamlError{line: lineOf(n), what: fmt.Sprintf("nested deeper than %d levels", maxDepth)}
	}
	d.lines[pointer] = lineOf(n)
	switch n := n.(type) {
	case *ast.MappingNode:
		return d.mapping(n.Values, pointer, depth)
	case *ast.MappingValueNode:
		return d.mapping([]*ast.MappingValueNode{n}, pointer, depth)
	case *ast.SequenceNode:
		list := make([]any, 0, len(n.Values))
		for i, v := range n.Values {
			item, err := d.convert(v, pointer+"/"+strconv.Itoa(i), depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, item)
		}
		return list, nil
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode:
		return n.Value.Value, nil
	case *ast.IntegerNode:
		switch v := n.Value.(type) {
		case int64:
			return v, nil
		case uint64:
			return v, nil
		}
	case *ast.FloatNode:
		return n.Value, nil
	case *ast.BoolNode:
		return n.Value, nil
	case *ast.NullNode:
		return nil, nil
	}
	return nil, &yamlError{line: lineOf(n), what: fmt.Sprintf("%s is not used in contracts: write the value out", strings.ToLower(n.Type().String()))}
}

func (d *document) mapping(values []*ast.MappingValueNode, pointer string, depth int) (any, error) {
	m := make(map[string]any, len(values))
	for _, v := range values {
		key, ok := v.Key.(*ast.StringNode)
		if !ok {
			return nil, &yamlError{line: lineOf(v.Key), what: fmt.Sprintf("the key %s is not a plain word", strings.TrimSpace(v.Key.String()))}
		}
		if _, twice := m[key.Value]; twice {
			return nil, &yamlError{line: lineOf(key), what: fmt.Sprintf("%q stands here a second time", key.Value)}
		}
		child := pointer + "/" + escapePointer(key.Value)
		value, err := d.convert(v.Value, child, depth+1)
		if err != nil {
			return nil, err
		}
		// The key's line is what a person looks for; a nested value begins a line later.
		d.lines[child] = lineOf(key)
		m[key.Value] = value
	}
	return m, nil
}

// line of a pointer, or of the nearest value around it.
func (d *document) line(pointer string) int {
	for {
		if line, ok := d.lines[pointer]; ok && line > 0 {
			return line
		}
		cut := strings.LastIndexByte(pointer, '/')
		if cut < 0 {
			return 1
		}
		pointer = pointer[:cut]
	}
}

func escapePointer(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "~", "~0"), "/", "~1")
}

func asYAMLError(err error) *yamlError {
	var y *yamlError
	if errors.As(err, &y) {
		return y
	}
	return &yamlError{what: err.Error()}
}
