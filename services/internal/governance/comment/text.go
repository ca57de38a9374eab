package comment

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// Everything that a comment quotes comes from a pull request that anybody may open: field names, docs, values, owners, file
// names. It must not become Markdown: no link, no image, no mention that wakes people, no table cell that swallows the
// next, no marker that makes the next run update a stranger's comment.

// visible replaces what a reader would not see or would see elsewhere: control characters, and the characters that turn
// the direction of text or have no width. Line breaks and tabs become spaces.
func visible(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			b.WriteByte(' ')
		case r == unicode.ReplacementChar || unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Co, r) || r == '\u2028' || r == '\u2029':
			fmt.Fprintf(&b, "\\u{%x}", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// short cuts at most limit characters.
func short(s string, limit int) string {
	count := 0
	for i := range s {
		if count == limit {
			return s[:i] + "…"
		}
		count++
	}
	return s
}

// zeroWidth parts what GitHub would join to a mention, a reference or a link. A reader does not see it.
const zeroWidth = "&#8203;"

// autolinks are what GitHub makes links of without any Markdown: @name, #12, GH-12, http://, www.
var autolinks = regexp.MustCompile(`(?i)(@|#|GH-|https?:|ftp:|mailto:|xmpp:|www)`)

// text makes prose of s: what stands between two backticks becomes a code span, and no other character is Markdown.
func text(s string, limit int) string {
	parts := strings.Split(strings.Join(strings.Fields(visible(short(s, limit))), " "), "`")
	var b strings.Builder
	for i, part := range parts {
		switch {
		case i%2 == 0 && part == "" && i > 0 && i < len(parts)-1:
			// Two code spans that touched would be one with other ends.
			b.WriteString(zeroWidth)
		case i%2 == 0:
			b.WriteString(prose(part))
		case i == len(parts)-1: // a backtick without its fellow
			b.WriteString("\\`" + prose(part))
		default:
			b.WriteString(code(part, limit))
		}
	}
	return b.String()
}

func prose(s string) string {
	// Parted before anything is escaped, so that no entity of our own is taken for a reference; the mark is put in last.
	runes := []rune(autolinks.ReplaceAllString(s, "$1\x00"))
	var b strings.Builder
	for i, r := range runes {
		var before, after rune
		if i > 0 {
			before = runes[i-1]
		}
		if i+1 < len(runes) {
			after = runes[i+1]
		}
		switch {
		case r == 0:
			b.WriteString(zeroWidth)
		case r == '&':
			b.WriteString("&amp;")
		case r == '<':
			b.WriteString("&lt;")
		case r == '>':
			b.WriteString("&gt;")
		// GitHub takes $…$ for a formula, and an escaped dollar as well.
		case r == '$':
			b.WriteString("&#36;")
		// An underscore within a word means nothing, and most field names have one. [] without a target neither.
		case r == '_' && wordRune(before) && wordRune(after), r == '[' && after == ']', r == ']' && before == '[' && after != '(' && after != '[' && after != ':':
			b.WriteRune(r)
		case strings.ContainsRune("\\*_[]|~!", r):
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func wordRune(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// code makes a code span of s, in which nothing but its own end has a meaning. In a table a pipe would end the cell all the
// same, so that it is escaped there, and nowhere else: outside of tables the backslash would be seen.
func code(s string, limit int) string {
	s = strings.TrimSpace(visible(short(s, limit)))
	if s == "" {
		return "–"
	}
	ticks := strings.Repeat("`", longestRun(s, '`')+1)
	if strings.HasPrefix(s, "`") || strings.HasSuffix(s, "`") {
		s = " " + s + " "
	}
	return ticks + s + ticks
}

// cell is a code span within a table.
func cell(s string, limit int) string {
	return strings.ReplaceAll(code(s, limit), "|", "\\|")
}

// fence makes a code block of s, with a fence that s does not contain.
func fence(language, s string) string {
	lines := strings.Split(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(visible(strings.ReplaceAll(lines[i], "\t", "    ")), " ")
	}
	s = strings.TrimSpace(strings.Join(lines, "\n"))
	ticks := strings.Repeat("`", max(3, longestRun(s, '`')+1))
	return ticks + language + "\n" + s + "\n" + ticks + "\n"
}

func longestRun(s string, of byte) int {
	longest, run := 0, 0
	for i := range len(s) {
		if s[i] == of {
			run++
			longest = max(longest, run)
		} else {
			run = 0
		}
	}
	return longest
}
