// Package sqltext reads just enough of ClickHouse's SQL to take a request apart: where the text of an INSERT ends and its
// data begins, whether a text holds one statement or several, what it asks the answer's format to be, and which query a
// KILL names. It knows quotes, comments and parentheses, and nothing of expressions.
package sqltext

import "strings"

type kind uint8

const (
	word   kind = iota + 1 // an unquoted identifier, keyword or number
	quoted                 // 'string', "identifier", `identifier` or $tag$heredoc$tag$
	symbol                 // one byte of punctuation
)

// token is a piece of the text that is neither space nor comment.
type token struct {
	kind       kind
	start, end int
	depth      int // open parentheses, brackets and braces before it
}

func (t token) text(s string) string { return s[t.start:t.end] }

func (t token) is(s, keyword string) bool {
	return t.kind == word && strings.EqualFold(s[t.start:t.end], keyword)
}

func (t token) isSymbol(s string, c byte) bool { return t.kind == symbol && s[t.start] == c }

// scanner hands out the tokens of a text one after another.
type scanner struct {
	text  string
	at    int
	depth int
}

func (s *scanner) next() (token, bool) {
	s.skipSpace()
	if s.at >= len(s.text) {
		return token{}, false
	}
	t := token{start: s.at, depth: s.depth}
	c := s.text[s.at]
	switch {
	case c == '\'' || c == '"' || c == '`':
		t.kind = quoted
		s.at = endOfQuote(s.text, s.at)
	case c == '$':
		t.kind, s.at = endOfDollar(s.text, s.at)
	case isWordByte(c):
		t.kind = word
		for s.at < len(s.text) && (isWordByte(s.text[s.at]) || s.text[s.at] == '$') {
			s.at++
		}
	default:
		t.kind = symbol
		s.at++
		switch c {
		case '(', '[', '{':
			s.depth++
		case ')', ']', '}':
			s.depth--
			t.depth = s.depth
		}
	}
	t.end = s.at
	return t, true
}

func (s *scanner) skipSpace() {
	for s.at < len(s.text) {
		rest := s.text[s.at:]
		switch {
		case isSpace(rest[0]):
			s.at++
		case strings.HasPrefix(rest, "--"), strings.HasPrefix(rest, "#!"), strings.HasPrefix(rest, "# "):
			s.at += lengthUntil(rest, "\n")
		case strings.HasPrefix(rest, "/*"):
			s.at += 2 + lengthUntil(rest[2:], "*/")
		default:
			return
		}
	}
}

// lengthUntil is the length of s up to and including the end mark, or all of s.
func lengthUntil(s, mark string) int {
	if i := strings.Index(s, mark); i >= 0 {
		return i + len(mark)
	}
	return len(s)
}

func endOfQuote(s string, start int) int {
	quote := s[start]
	for i := start + 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case quote:
			if i+1 < len(s) && s[i+1] == quote {
				i++
				continue
			}
			return i + 1
		}
	}
	return len(s)
}

// endOfDollar reads a heredoc ($tag$ … $tag$), or a lone dollar sign as a symbol.
func endOfDollar(s string, start int) (kind, int) {
	i := start + 1
	for i < len(s) && isWordByte(s[i]) {
		i++
	}
	if i >= len(s) || s[i] != '$' {
		return symbol, start + 1
	}
	tag := s[start : i+1]
	return quoted, i + 1 + lengthUntil(s[i+1:], tag)
}

func isSpace(c byte) bool { return c == ' ' || (c >= '\t' && c <= '\r') }

func isWordByte(c byte) bool {
	return c == '_' || c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
}
