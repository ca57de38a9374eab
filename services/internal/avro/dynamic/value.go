package dynamic

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Kind of a Value.
type Kind uint8

// The kinds: Plain is a number or a truth value, Text anything that JSON quotes.
const (
	Null Kind = iota
	Plain
	Text
	List
	Record
)

// Value is a node of a decoded body.
type Value struct {
	Kind Kind
	// Text of a leaf, unquoted.
	Text string
	// Names of a record's fields (or a map's keys, sorted), and Items, their values or a list's.
	Names []string
	Items []Value
}

// AppendJSON appends the value as JSON. Decimals are strings: a JSON number would be rounded by most who read it.
func (v Value) AppendJSON(dst []byte) []byte {
	switch v.Kind {
	case Record, List:
		open, closing := byte('{'), byte('}')
		if v.Kind == List {
			open, closing = '[', ']'
		}
		dst = append(dst, open)
		for i, item := range v.Items {
			if i > 0 {
				dst = append(dst, ',')
			}
			if v.Kind == Record {
				dst = append(AppendQuoted(dst, v.Names[i]), ':')
			}
			dst = item.AppendJSON(dst)
		}
		return append(dst, closing)
	case Text:
		return AppendQuoted(dst, v.Text)
	}
	return append(dst, v.Text...)
}

// AppendQuoted appends a JSON string, with < and > as they are.
func AppendQuoted(dst []byte, text string) []byte {
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	// A string always encodes.
	_ = encoder.Encode(text)
	return append(dst, strings.TrimSuffix(out.String(), "\n")...)
}

// AppendLine appends the value for a person: name=value, nested records in braces, lists in brackets. Texts longer than
// most bytes are cut, and lists after three items; 0 cuts nothing.
func (v Value) AppendLine(dst []byte, most int) []byte {
	switch v.Kind {
	case Record:
		for i, item := range v.Items {
			if i > 0 {
				dst = append(dst, ' ')
			}
			dst = append(append(dst, v.Names[i]...), '=')
			if item.Kind == Record {
				dst = append(item.AppendLine(append(dst, '{'), most), '}')
				continue
			}
			dst = item.AppendLine(dst, most)
		}
		return dst
	case List:
		return v.appendList(dst, most)
	case Text:
		text := v.Text
		cut := most > 0 && len(text) > most
		if cut {
			text = strings.ToValidUTF8(text[:most], "") + "…"
		}
		return appendShown(dst, text, cut)
	}
	return append(dst, v.Text...)
}

// appendShown writes a text for a person, in quotes where it would run into its neighbours: single ones where that spares
// the escapes, as in a frame's JSON.
func appendShown(dst []byte, text string, cut bool) []byte {
	switch {
	case !cut && text != "" && !strings.ContainsAny(text, " ='\"{}[]\n\t\r"):
		return append(dst, text...)
	case strings.Contains(text, `"`) && !strings.ContainsAny(text, "'\n\t\r"):
		return append(append(append(dst, '\''), text...), '\'')
	}
	return AppendQuoted(dst, text)
}

// listedItems of a list are shown to a person.
const listedItems = 3

func (v Value) appendList(dst []byte, most int) []byte {
	dst = append(dst, '[')
	for i, item := range v.Items {
		if i > 0 {
			dst = append(dst, ' ')
		}
		if most > 0 && i == listedItems {
			dst = append(dst, "… "...)
			dst = append(strconv.AppendInt(dst, int64(len(v.Items)-i), 10), " more"...)
			break
		}
		if item.Kind == Record {
			dst = append(item.AppendLine(append(dst, '{'), most), '}')
			continue
		}
		dst = item.AppendLine(dst, most)
	}
	return append(dst, ']')
}

// At returns the leaves at a dotted path, several where it leads through a list: "bids[].price".
func (v Value) At(path string) []Value {
	if path == "" {
		if v.Kind == List {
			return v.Items
		}
		return []Value{v}
	}
	if v.Kind == List {
		var found []Value
		for _, item := range v.Items {
			found = append(found, item.At(path)...)
		}
		return found
	}
	name, rest, _ := strings.Cut(path, ".")
	i := slices.Index(v.Names, strings.TrimSuffix(name, "[]"))
	if i < 0 || v.Kind != Record {
		return nil
	}
	return v.Items[i].At(rest)
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }
