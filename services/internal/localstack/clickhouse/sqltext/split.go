package sqltext

import "strings"

// Split takes a text apart at the semicolons that end statements. rest is what stands behind the last one: a statement
// that is not complete yet, blanks and comments, or nothing.
func Split(text string) (statements []string, rest string) {
	s := scanner{text: text}
	begin, empty := 0, true
	for {
		t, ok := s.next()
		if !ok {
			break
		}
		if !t.isSymbol(text, ';') {
			empty = false
			continue
		}
		if !empty {
			statements = append(statements, strings.TrimSpace(text[begin:t.start]))
		}
		begin, empty = t.end, true
	}
	if empty {
		return statements, ""
	}
	return statements, text[begin:]
}
