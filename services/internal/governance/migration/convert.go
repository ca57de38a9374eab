package migration

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/streamforge/streamforge/services/internal/avro"
)

// The bodies are converted byte by byte and not through values: a record that is converted twice must be the same bytes, and
// values would put the entries of a map in another order each time.

// maxDepth bounds the recursion of a type that contains itself.
const maxDepth = 200

var (
	errShort    = errors.New("the body ends too early")
	errTooDeep  = fmt.Errorf("nested deeper than %d", maxDepth)
	errVarint   = errors.New("a number of more than 64 bits")
	errNegative = errors.New("a negative length")
)

func (m *Mapping) convert(version int, dst, body []byte) ([]byte, error) {
	out, rest, err := m.root.convert(version, dst, body, 0)
	if err != nil {
		return dst, fmt.Errorf("converting %d bytes: %w", len(body), err)
	}
	if len(rest) > 0 {
		return dst, fmt.Errorf("converting %d bytes: %d bytes too many", len(body), len(rest))
	}
	return out, nil
}

// convert reads one value of the other version from src, appends it to dst as the given version has it, and returns what is
// left of src.
func (p *pair) convert(version int, dst, src []byte, depth int) (out, rest []byte, err error) {
	if depth > maxDepth {
		return dst, src, errTooDeep
	}
	switch p.kind {
	case number:
		return p.number(version, dst, src)
	case float:
		return p.float(version, dst, src)
	case enum:
		return p.enum(version, dst, src)
	case record:
		return p.record(version, dst, src, depth)
	case list:
		return p.list(version, dst, src, depth)
	case union:
		return p.union(version, dst, src, depth)
	}
	rest, err = skip(p.schema[1-version], src, depth)
	if err != nil {
		return dst, src, p.at(version, err)
	}
	return append(dst, src[:len(src)-len(rest)]...), rest, nil
}

// at says where a value that was read stands.
func (p *pair) at(version int, err error) error {
	return fmt.Errorf("%s: %w", place(p.path[1-version]), err)
}

func (p *pair) enum(version int, dst, src []byte) ([]byte, []byte, error) {
	at, rest, err := long(src)
	if err == nil && (at < 0 || at >= int64(len(p.symbols[version]))) {
		err = fmt.Errorf("symbol %d of %d", at, len(p.symbols[version]))
	}
	if err != nil {
		return dst, src, p.at(version, err)
	}
	return appendLong(dst, int64(p.symbols[version][at])), rest, nil
}

func (p *pair) record(version int, dst, src []byte, depth int) ([]byte, []byte, error) {
	if p.inOrder[version] {
		var err error
		for _, f := range p.fields[version] {
			if dst, src, err = f.inner.convert(version, dst, src, depth+1); err != nil {
				return dst, src, err
			}
		}
		return dst, src, nil
	}
	// The values are read in one order and written in another: where each begins has to be known first.
	read := p.schema[1-version].Fields
	var few [16][]byte
	begin := few[:0]
	for _, f := range read {
		begin = append(begin, src)
		var err error
		if src, err = skip(f.Type, src, depth+1); err != nil {
			return dst, src, fmt.Errorf("%s: %w", place(below(p.path[1-version], f.Name)), err)
		}
	}
	for _, f := range p.fields[version] {
		if f.inner == nil {
			dst = append(dst, f.constant...)
			continue
		}
		var err error
		if dst, _, err = f.inner.convert(version, dst, begin[f.index], depth+1); err != nil {
			return dst, src, err
		}
	}
	return dst, src, nil
}

func (p *pair) list(version int, dst, src []byte, depth int) ([]byte, []byte, error) {
	isMap := p.schema[earlier].Type == avro.Map
	for {
		count, rest, err := blockOf(p.schema[1-version], src)
		if err != nil {
			return dst, src, p.at(version, err)
		}
		dst, src = appendLong(dst, count), rest
		if count == 0 {
			return dst, src, nil
		}
		for range count {
			if isMap {
				key, rest, err := sized(src)
				if err != nil {
					return dst, src, p.at(version, err)
				}
				dst, src = append(appendLong(dst, int64(len(key))), key...), rest
			}
			if dst, src, err = p.items.convert(version, dst, src, depth+1); err != nil {
				return dst, src, err
			}
		}
	}
}

func (p *pair) union(version int, dst, src []byte, depth int) ([]byte, []byte, error) {
	at, rest := int64(0), src
	if p.schema[1-version].Type == avro.Union {
		var err error
		if at, rest, err = long(src); err == nil && (at < 0 || at >= int64(len(p.branches[version]))) {
			err = fmt.Errorf("branch %d of %d", at, len(p.branches[version]))
		}
		if err != nil {
			return dst, src, p.at(version, err)
		}
	}
	b := p.branches[version][at]
	if b.inner == nil {
		return append(dst, b.constant...), rest, nil // only null, which takes no bytes
	}
	if p.schema[version].Type == avro.Union {
		dst = appendLong(dst, int64(b.index))
	}
	return b.inner.convert(version, dst, rest, depth+1)
}

// skip a value and return what is left.
func skip(s *avro.Schema, src []byte, depth int) (rest []byte, err error) {
	if depth > maxDepth {
		return src, errTooDeep
	}
	switch s.Type {
	case avro.Null:
		return src, nil
	case avro.Boolean:
		if len(src) > 0 && src[0] > 1 {
			return src, fmt.Errorf("%d is no truth value", src[0])
		}
		return fixed(src, 1)
	case avro.Int:
		_, rest, err = integer(src)
		return rest, err
	case avro.Long:
		_, rest, err = long(src)
		return rest, err
	case avro.Float:
		return fixed(src, 4)
	case avro.Double:
		return fixed(src, 8)
	case avro.Fixed:
		return fixed(src, s.Size)
	case avro.Bytes, avro.String:
		_, rest, err = sized(src)
		return rest, err
	case avro.Record:
		for _, f := range s.Fields {
			if src, err = skip(f.Type, src, depth+1); err != nil {
				return src, err
			}
		}
		return src, nil
	case avro.Array, avro.Map:
		return skipList(s, src, depth)
	}
	at, rest, err := long(src) // an enum's symbol or a union's branch
	if err != nil || s.Type == avro.Enum {
		if err == nil && (at < 0 || at >= int64(len(s.Symbols))) {
			err = fmt.Errorf("symbol %d of %d", at, len(s.Symbols))
		}
		return rest, err
	}
	if at < 0 || at >= int64(len(s.Branches)) {
		return src, fmt.Errorf("branch %d of %d", at, len(s.Branches))
	}
	return skip(s.Branches[at], rest, depth+1)
}

func skipList(s *avro.Schema, src []byte, depth int) ([]byte, error) {
	for {
		count, rest, err := blockOf(s, src)
		if err != nil || count == 0 {
			return rest, err
		}
		src = rest
		for range count {
			if s.Type == avro.Map {
				if _, src, err = sized(src); err != nil {
					return src, err
				}
			}
			if src, err = skip(s.Items, src, depth+1); err != nil {
				return src, err
			}
		}
	}
}

// maxEmptyItems bounds items that take no bytes: nothing else does.
const maxEmptyItems = 1 << 16

// blockOf reads how many items follow. A negative number is followed by the block's size, which nobody needs here.
func blockOf(s *avro.Schema, src []byte) (count int64, rest []byte, err error) {
	if count, rest, err = long(src); err != nil {
		return 0, src, err
	}
	if count < 0 {
		if count == math.MinInt64 {
			return 0, src, errNegative
		}
		count = -count
		if _, rest, err = long(rest); err != nil {
			return 0, src, err
		}
	}
	if count > int64(len(rest)) && count > maxEmptyItems {
		return 0, src, fmt.Errorf("%d items in %d bytes", count, len(rest))
	}
	return count, rest, nil
}

func fixed(src []byte, size int) ([]byte, error) {
	if len(src) < size {
		return src, errShort
	}
	return src[size:], nil
}

func sized(src []byte) (value, rest []byte, err error) {
	n, rest, err := long(src)
	switch {
	case err != nil:
		return nil, src, err
	case n < 0:
		return nil, src, errNegative
	case n > int64(len(rest)):
		return nil, src, errShort
	}
	return rest[:n], rest[n:], nil
}

func integer(src []byte) (int64, []byte, error) {
	v, rest, err := long(src)
	if err == nil && int64(int32(v)) != v {
		err = fmt.Errorf("%d is no int", v)
	}
	return v, rest, err
}

func long(src []byte) (int64, []byte, error) {
	v, n := binary.Varint(src)
	switch {
	case n == 0:
		return 0, src, errShort
	case n < 0:
		return 0, src, errVarint
	}
	return v, src[n:], nil
}

func appendLong(dst []byte, v int64) []byte { return binary.AppendVarint(dst, v) }
