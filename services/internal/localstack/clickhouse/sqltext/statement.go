package sqltext

import (
	"errors"
	"strings"
)

// ErrSeveral says that a text holds more than one statement.
//
//lint:ignore ST1005 a client compares the beginning of the text with what a ClickHouse server answers
var ErrSeveral = errors.New("Syntax error (Multi-statements are not allowed): the text holds several statements, send them one by one")

// Statement is what a text asks for.
type Statement struct {
	Text      string    // the statement without a final semicolon
	Verb      string    // its first word, in capitals
	Format    string    // the name after a final FORMAT, or empty
	IntoFile  bool      // it asks for INTO OUTFILE
	KillQuery bool      // it is KILL QUERY
	Readable  bool      // SELECT or WITH: its answer can be streamed
	Settings  []Setting // of a final SETTINGS clause

	temporary bool
}

// Parse reads a text that holds one statement and no data. More than one is ErrSeveral.
func Parse(text string) (Statement, error) {
	s := scanner{text: text}
	var tokens []token
	end := len(text)
	for {
		t, ok := s.next()
		if !ok {
			break
		}
		if t.isSymbol(text, ';') {
			end = t.start
			if _, more := skipSemicolons(&s); more {
				return Statement{}, ErrSeveral
			}
			break
		}
		tokens = append(tokens, t)
	}
	statement := Statement{Text: text[:end]}
	if len(tokens) == 0 {
		return statement, nil
	}
	first := firstWord(text, tokens)
	statement.Verb = strings.ToUpper(first.text(text))
	statement.Readable = statement.Verb == "SELECT" || statement.Verb == "WITH"
	statement.KillQuery = statement.Verb == "KILL" && len(tokens) > 1 && tokens[1].is(text, "QUERY")
	statement.Format = finalFormat(text, tokens)
	statement.Settings = finalSettings(text, tokens)
	statement.temporary = isTemporary(text, tokens)
	statement.IntoFile = hasPair(text, tokens, "INTO", "OUTFILE")
	return statement, nil
}

func skipSemicolons(s *scanner) (token, bool) {
	for {
		t, ok := s.next()
		if !ok || !t.isSymbol(s.text, ';') {
			return t, ok
		}
	}
}

// firstWord is the first token that is not an opening parenthesis: (SELECT 1) UNION ALL (SELECT 2) is a SELECT.
func firstWord(text string, tokens []token) token {
	for _, t := range tokens {
		if !t.isSymbol(text, '(') {
			return t
		}
	}
	return tokens[0]
}

// finalFormat finds FORMAT name at the end of a statement, with or without SETTINGS after it.
func finalFormat(text string, tokens []token) string {
	for i := len(tokens) - 2; i > 0; i-- {
		if tokens[i].depth != 0 || !tokens[i].is(text, "FORMAT") || tokens[i+1].kind != word {
			continue
		}
		if i+2 == len(tokens) || tokens[i+2].is(text, "SETTINGS") {
			return tokens[i+1].text(text)
		}
	}
	return ""
}

func hasPair(text string, tokens []token, a, b string) bool {
	for i := 0; i+1 < len(tokens); i++ {
		if tokens[i].depth == 0 && tokens[i].is(text, a) && tokens[i+1].is(text, b) {
			return true
		}
	}
	return false
}

// KillByQueryID rewrites a KILL QUERY so that its condition on query_id reads the expression given instead, and returns
// the ids that it compares query_id with as literals.
func KillByQueryID(text, expression string) (rewritten string, ids []string) {
	s := scanner{text: text}
	var out strings.Builder
	last, seen := 0, false
	for {
		t, ok := s.next()
		if !ok {
			break
		}
		name := strings.Trim(t.text(text), "`\"")
		if strings.EqualFold(name, "query_id") && t.text(text)[0] != '\'' {
			out.WriteString(text[last:t.start])
			out.WriteString(expression)
			last, seen = t.end, true
			continue
		}
		if seen && t.kind == quoted && text[t.start] == '\'' {
			ids = append(ids, unquote(t.text(text)))
		}
	}
	out.WriteString(text[last:])
	return out.String(), ids
}

// unquote reads a 'string' of SQL; escapes other than a doubled or escaped quote and backslash do not occur in ids.
func unquote(s string) string {
	s = strings.TrimSuffix(strings.TrimPrefix(s, "'"), "'")
	s = strings.ReplaceAll(s, "''", "'")
	s = strings.ReplaceAll(s, `\'`, "'")
	return strings.ReplaceAll(s, `\\`, `\`)
}

// Quote writes s as a 'string' of SQL.
func Quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// QuoteIdentifier writes s as a `name` of SQL.
func QuoteIdentifier(s string) string {
	return "`" + strings.NewReplacer("\\", "\\\\", "`", "\\`").Replace(s) + "`"
}

// WithoutSync cuts SYNC or NO DELAY off the end of a statement.
func WithoutSync(text string) string {
	s := scanner{text: text}
	var last, before token
	for t, ok := s.next(); ok; t, ok = s.next() {
		last, before = t, last
	}
	switch {
	case last.is(text, "SYNC") && before.end > 0:
		return text[:last.start]
	case last.is(text, "DELAY") && before.is(text, "NO"):
		return text[:before.start]
	}
	return text
}
