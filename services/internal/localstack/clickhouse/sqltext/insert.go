package sqltext

import "strings"

// Insert is an INSERT that carries data, taken apart.
type Insert struct {
	Into     string // INSERT INTO t (columns), as written
	Settings string // SETTINGS a = 1, …, as written, or empty
	Format   string // the data's format; empty when the text names none
	Data     int    // where the data begins in the text; len(text) when all of it is still to come
}

// FromFile is the statement that inserts the data from a file instead. The file is read as it is, whatever its name.
func (i Insert) FromFile(path, defaultFormat string) string {
	format := i.Format
	if format == "" {
		format = defaultFormat
	}
	parts := []string{i.Into, "FROM INFILE", Quote(path), "COMPRESSION 'none'"}
	if i.Settings != "" {
		parts = append(parts, i.Settings)
	}
	return strings.Join(append(parts, "FORMAT", format), " ")
}

// ParseInsert reads the head of an INSERT with data. ok is false when the text is something else: another statement, an
// INSERT … SELECT, or an INSERT … FROM INFILE (fromFile). complete says that the text came from the URL, so that SETTINGS
// may stand after the format's name: in a body it would be data.
func ParseInsert(text string, complete bool) (insert Insert, fromFile, ok bool) {
	s := scanner{text: text}
	t, more := s.next()
	if !more || !t.is(text, "INSERT") {
		return Insert{}, false, false
	}
	start := t.start
	t, more = afterTable(&s)
	settings := -1 // where SETTINGS begins
	end := len(text)
	for ; more; t, more = s.next() {
		if t.depth != 0 {
			continue
		}
		switch {
		case t.isSymbol(text, ';'):
			end = t.start
			more = false
		case t.is(text, "SELECT"), t.is(text, "WITH"), t.is(text, "WATCH"), t.isSymbol(text, '(') && opensSelect(s):
			return Insert{}, false, false
		case t.is(text, "FROM"):
			return Insert{}, true, false
		case t.is(text, "SETTINGS") && settings < 0:
			settings = t.start
		case t.is(text, "VALUES"):
			insert = head(text, start, t.start, settings)
			insert.Format, insert.Data = "Values", t.end
			return insert, false, true
		case t.is(text, "FORMAT"):
			return afterFormat(&s, text, start, t.start, settings, complete)
		}
		if !more {
			break
		}
	}
	insert = head(text, start, end, settings)
	insert.Data = len(text)
	return insert, false, true
}

// afterTable skips INTO, TABLE, FUNCTION and the compound name, so that a table called format or values is a name.
func afterTable(s *scanner) (token, bool) {
	t, more := s.next()
	for more && (t.is(s.text, "INTO") || t.is(s.text, "TABLE") || t.is(s.text, "FUNCTION")) {
		t, more = s.next()
	}
	for more {
		if t.isSymbol(s.text, '{') { // {name:Identifier}
			for more && !t.isSymbol(s.text, '}') {
				t, more = s.next()
			}
		}
		t, more = s.next()
		if !more || !t.isSymbol(s.text, '.') {
			return t, more
		}
		t, more = s.next()
	}
	return t, more
}

// opensSelect looks behind an opening parenthesis, on a copy of the scanner.
func opensSelect(s scanner) bool {
	for {
		t, ok := s.next()
		if !ok {
			return false
		}
		if !t.isSymbol(s.text, '(') {
			return t.is(s.text, "SELECT") || t.is(s.text, "WITH")
		}
	}
}

func head(text string, start, end, settings int) Insert {
	if settings < 0 {
		return Insert{Into: strings.TrimSpace(text[start:end])}
	}
	return Insert{Into: strings.TrimSpace(text[start:settings]), Settings: strings.TrimSpace(text[settings:end])}
}

func afterFormat(s *scanner, text string, start, end, settings int, complete bool) (Insert, bool, bool) {
	insert := head(text, start, end, settings)
	name, ok := s.next()
	if !ok || name.kind != word {
		return Insert{}, false, false
	}
	insert.Format = name.text(text)
	data := name.end
	if complete {
		look := *s
		if t, ok := look.next(); ok && t.is(text, "SETTINGS") {
			insert.Settings = strings.TrimRight(strings.TrimSpace(text[t.start:]), "; \n\t")
			insert.Data = len(text)
			return insert, false, true
		}
	}
	// The engine's own rule: blanks, then one line end, and everything behind it is data.
	for data < len(text) && (text[data] == ' ' || text[data] == '\t' || text[data] == '\f') {
		data++
	}
	if complete && data < len(text) && text[data] == ';' && strings.TrimSpace(text[data+1:]) == "" {
		data = len(text)
	}
	if data < len(text) && text[data] == '\r' {
		data++
	}
	if data < len(text) && text[data] == '\n' {
		data++
	}
	insert.Data = data
	return insert, false, true
}
