package main

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"

	"github.com/streamforge/streamforge/services/internal/market"
)

// span is a part of a frame's bytes.
type span struct{ from, to int }

// jsonNode is a value of a frame with where it stands.
type jsonNode struct {
	span
	delim byte // '{', '[' or 0 for a scalar
	// text of a scalar, unquoted.
	text     string
	children []*jsonNode
}

// findItem finds the part of a frame that an item was made from: the smallest object that holds all wanted values, and
// where there is none, the item-th element of the frame's outermost array of objects. Values are texts as the
// record has them: a number is found however the venue writes it.
func findItem(payload []byte, item int, wanted []string) (span, bool) {
	root, err := parseSpans(payload)
	if err != nil {
		return span{}, false
	}
	wanted = slices.DeleteFunc(slices.Clone(wanted), func(w string) bool { return w == "" })
	if len(wanted) > 0 {
		for _, delim := range []byte{'{', '['} {
			if found := smallest(root, delim, wanted); found != nil {
				return found.span, true
			}
		}
	}
	if list := listOfObjects(root, item); list != nil {
		return list.children[item].span, true
	}
	if root.delim == '{' && item == 0 {
		return root.span, true
	}
	return span{}, false
}

// parseSpans reads JSON as a tree of spans.
func parseSpans(payload []byte) (*jsonNode, error) {
	decoder := json.NewDecoder(bytes.NewReader(payload))
	decoder.UseNumber()
	root := &jsonNode{}
	open := []*jsonNode{root}
	key := false // the next token of an object is a key
	for {
		before := int(decoder.InputOffset())
		token, err := decoder.Token()
		if err == io.EOF && len(open) == 1 && len(root.children) == 1 {
			return root.children[0], nil
		}
		if err != nil {
			return nil, err
		}
		after := int(decoder.InputOffset())
		top := open[len(open)-1]
		if d, ok := token.(json.Delim); ok {
			switch d {
			case '{', '[':
				n := &jsonNode{span: span{from: after - 1}, delim: byte(d)}
				top.children = append(top.children, n)
				open = append(open, n)
				key = d == '{'
			default:
				top.to = after
				open = open[:len(open)-1]
				key = open[len(open)-1].delim == '{'
			}
			continue
		}
		if key {
			key = false
			continue
		}
		top.children = append(top.children, &jsonNode{span: span{from: start(payload, before), to: after}, text: scalarText(token)})
		key = top.delim == '{'
	}
}

// start passes what stands between two values.
func start(payload []byte, at int) int {
	for at < len(payload) && bytes.IndexByte([]byte(" \t\r\n,:"), payload[at]) >= 0 {
		at++
	}
	return at
}

func scalarText(token json.Token) string {
	switch v := token.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	return ""
}

// smallest finds the shortest node of a kind that holds all wanted values.
func smallest(n *jsonNode, delim byte, wanted []string) *jsonNode {
	var best *jsonNode
	for _, child := range n.children {
		if found := smallest(child, delim, wanted); found != nil && (best == nil || found.to-found.from < best.to-best.from) {
			best = found
		}
	}
	if best == nil && n.delim == delim && !slices.ContainsFunc(wanted, func(w string) bool { return !n.holds(w) }) {
		return n
	}
	return best
}

func (n *jsonNode) holds(wanted string) bool {
	if n.delim == 0 && sameValue(n.text, wanted) {
		return true
	}
	return slices.ContainsFunc(n.children, func(c *jsonNode) bool { return c.holds(wanted) })
}

// sameValue compares texts, and numbers by value.
func sameValue(a, b string) bool {
	if a == b {
		return true
	}
	x, _, errX := market.ParseDecimal([]byte(a))
	y, _, errY := market.ParseDecimal([]byte(b))
	return errX == nil && errY == nil && x == y
}

// listOfObjects finds the outermost array whose item-th element is an object: the levels of a book lie deeper than the
// events.
func listOfObjects(n *jsonNode, item int) *jsonNode {
	if n.delim == '[' && item < len(n.children) && n.children[item].delim == '{' {
		return n
	}
	for _, child := range n.children {
		if found := listOfObjects(child, item); found != nil {
			return found
		}
	}
	return nil
}
