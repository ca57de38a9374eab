package sqltext

import "strings"

// Setting is one pair of a SETTINGS clause, its value without quotes.
type Setting struct{ Name, Value string }

// finalSettings reads the last SETTINGS clause outside of parentheses. Only plain values are taken, a number, a word or a
// 'string': with anything else in it the clause is the engine's affair.
func finalSettings(text string, tokens []token) []Setting {
	for i := len(tokens) - 3; i >= 0; i-- {
		if tokens[i].depth == 0 && tokens[i].is(text, "SETTINGS") && tokens[i+1].kind == word && tokens[i+2].isSymbol(text, '=') {
			return pairs(text, tokens[i+1:])
		}
	}
	return nil
}

func pairs(text string, tokens []token) []Setting {
	var settings []Setting
	for len(tokens) >= 3 && tokens[0].kind == word && tokens[1].isSymbol(text, '=') {
		value, used := plainValue(text, tokens[2:])
		if used == 0 {
			break
		}
		settings = append(settings, Setting{Name: tokens[0].text(text), Value: value})
		tokens = tokens[2+used:]
		if len(tokens) == 0 || !tokens[0].isSymbol(text, ',') {
			break
		}
		tokens = tokens[1:]
	}
	return settings
}

// plainValue is a 'string', or the tokens without a blank between them that make a word or a number, such as -1.5e3.
func plainValue(text string, tokens []token) (value string, used int) {
	if tokens[0].kind == quoted {
		if text[tokens[0].start] != '\'' {
			return "", 0
		}
		return unquote(tokens[0].text(text)), 1
	}
	for used < len(tokens) && (used == 0 || tokens[used].start == tokens[used-1].end) {
		t := tokens[used]
		if t.kind != word && !t.isSymbol(text, '-') && !t.isSymbol(text, '+') && !t.isSymbol(text, '.') {
			break
		}
		used++
	}
	if used == 0 {
		return "", 0
	}
	return text[tokens[0].start:tokens[used-1].end], used
}

// Lasts says that a statement's effect would last for the session, and names what it is: the HTTP interface's sessions
// are what a front may not have.
func (s Statement) Lasts() (what string, ok bool) {
	switch s.Verb {
	case "SET", "USE":
		return s.Verb, true
	case "CREATE":
		if s.temporary {
			return "CREATE TEMPORARY TABLE", true
		}
	}
	return "", false
}

// isTemporary recognises CREATE [OR REPLACE] TEMPORARY.
func isTemporary(text string, tokens []token) bool {
	for _, t := range tokens[1:min(len(tokens), 5)] {
		switch {
		case t.is(text, "TEMPORARY"):
			return true
		case !t.is(text, "OR") && !t.is(text, "REPLACE"):
			return false
		}
	}
	return false
}

// FormatsOutput says whether a setting is about the form of an answer.
func (s Setting) FormatsOutput() bool {
	for _, prefix := range []string{"output_format_", "format_", "date_time_output_format", "bool_true_representation", "bool_false_representation", "interval_output_format"} {
		if strings.HasPrefix(s.Name, prefix) {
			return true
		}
	}
	return false
}
