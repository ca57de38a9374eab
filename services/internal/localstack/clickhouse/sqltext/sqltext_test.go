package sqltext

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestInsertsAreTakenApart(t *testing.T) {
	for _, c := range []struct{ text, statement, data string }{
		{"INSERT INTO t FORMAT TSV\n1\t2\n", "INSERT INTO t FROM INFILE 'F' COMPRESSION 'none' FORMAT TSV", "1\t2\n"},
		{"INSERT INTO t FORMAT TSV \r\n\n\n", "INSERT INTO t FROM INFILE 'F' COMPRESSION 'none' FORMAT TSV", "\n\n"},
		{" insert into `a;b`.`format` (x, `values`) values ('a;b\n\n')", "insert into `a;b`.`format` (x, `values`) FROM INFILE 'F' COMPRESSION 'none' FORMAT Values", " ('a;b\n\n')"},
		{"INSERT INTO values VALUES (1)", "INSERT INTO values FROM INFILE 'F' COMPRESSION 'none' FORMAT Values", " (1)"},
		{"/* INSERT */ INSERT INTO t (a) SETTINGS async_insert=0, x='FORMAT' FORMAT Native\n\x01", "INSERT INTO t (a) FROM INFILE 'F' COMPRESSION 'none' SETTINGS async_insert=0, x='FORMAT' FORMAT Native", "\x01"},
		{"INSERT INTO FUNCTION null('a Int8') VALUES (1)", "INSERT INTO FUNCTION null('a Int8') FROM INFILE 'F' COMPRESSION 'none' FORMAT Values", " (1)"},
		{"INSERT INTO {t:Identifier} VALUES (1)", "INSERT INTO {t:Identifier} FROM INFILE 'F' COMPRESSION 'none' FORMAT Values", " (1)"},
	} {
		insert, _, ok := ParseInsert(c.text, false)
		if !ok {
			t.Errorf("%q is not taken for an insert", c.text)
			continue
		}
		if got := insert.FromFile("F", "Values"); got != c.statement {
			t.Errorf("%q becomes %q, expected %q", c.text, got, c.statement)
		}
		if got := c.text[insert.Data:]; got != c.data {
			t.Errorf("the data of %q is %q, expected %q", c.text, got, c.data)
		}
	}
}

func TestOtherStatementsAreNotInserts(t *testing.T) {
	for _, text := range []string{"INSERT INTO t SELECT 1", "INSERT INTO t (a) (SELECT 1)", "INSERT INTO t WITH x AS (SELECT 1) SELECT * FROM x", "SELECT 1", "", "INSERT INTO t FROM INFILE 'x' FORMAT TSV"} {
		if _, fromFile, ok := ParseInsert(text, true); ok || fromFile != strings.Contains(text, "INFILE") {
			t.Errorf("%q: ok %v, fromFile %v", text, ok, fromFile)
		}
	}
}

func TestSeveralStatementsAreRefused(t *testing.T) {
	for _, text := range []string{"SELECT 1; SELECT 2", "SELECT ';';SELECT 2", "SELECT 1;;;x", "SELECT 1 -- ;\n;\nDROP TABLE t", "SELECT $a$;$a$; SELECT 1"} {
		if _, err := Parse(text); !errors.Is(err, ErrSeveral) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"SELECT 1;", "SELECT ';' /* ; */ -- ;", "SELECT $a$;$a$ ; ; -- end", "SELECT `;`, \"a\"\";\" # ;"} {
		if s, err := Parse(text); err != nil || !s.Readable {
			t.Errorf("%q: %+v, %v", text, s, err)
		}
	}
}

func TestTheFormatIsTheLastOne(t *testing.T) {
	for text, want := range map[string]string{
		"SELECT 1 FORMAT JSON": "JSON", "SELECT 1 format CSV;": "CSV", "SELECT 1 FORMAT TSV SETTINGS max_threads=1": "TSV",
		"SELECT format FROM t": "", "SELECT 'FORMAT JSON'": "", "SELECT (SELECT 1 FORMAT JSON)": "", "SHOW TABLES": "",
	} {
		if s, err := Parse(text); err != nil || s.Format != want {
			t.Errorf("%q: format %q, %v; expected %q", text, s.Format, err, want)
		}
	}
}

func TestTheFinalSettingsAreRead(t *testing.T) {
	for text, want := range map[string][]Setting{
		"SELECT 1 SETTINGS a=1, b_c = 'it''s', d=-1.5e3,e=true FORMAT JSON":                {{"a", "1"}, {"b_c", "it's"}, {"d", "-1.5e3"}, {"e", "true"}},
		"SELECT 1 FORMAT JSON SETTINGS a=1":                                                {{"a", "1"}},
		"SELECT 1 SETTINGS a=1 UNION ALL SELECT 2 settings b = 2":                          {{"b", "2"}},
		"SELECT (SELECT 1 SETTINGS a=1)":                                                   nil,
		"SELECT settings FROM t WHERE settings = 1":                                        nil,
		"SELECT 'SETTINGS a=1'":                                                            nil,
		"SELECT 1 SETTINGS a={x:UInt8}, b=2":                                               nil,
		"SELECT 1 SETTINGS a=1, b=":                                                        {{"a", "1"}},
		"SELECT 1 SETTINGS":                                                                nil,
		"CREATE TABLE t (n Int8) ENGINE=MergeTree ORDER BY n SETTINGS index_granularity=9": {{"index_granularity", "9"}},
	} {
		if s, err := Parse(text); err != nil || !slices.Equal(s.Settings, want) {
			t.Errorf("%q: %v, %v; expected %v", text, s.Settings, err, want)
		}
	}
}

func TestWhatLastsForASession(t *testing.T) {
	for text, want := range map[string]string{
		"SET a=1": "SET", "use x": "USE", "CREATE TEMPORARY TABLE t (n Int8)": "CREATE TEMPORARY TABLE", "create or replace temporary table t (n Int8)": "CREATE TEMPORARY TABLE",
		"CREATE TABLE temporary (n Int8)": "", "SELECT 1": "", "CREATE": "", "": "",
	} {
		s, err := Parse(text)
		if what, lasts := s.Lasts(); err != nil || what != want || lasts != (want != "") {
			t.Errorf("%q: %q, %v, %v; expected %q", text, what, lasts, err, want)
		}
	}
}

func TestKillsFindTheID(t *testing.T) {
	text, ids := KillByQueryID("KILL QUERY WHERE `query_id` IN ('a', 'it\\'s') AND user = 'query_id' SYNC", "X")
	if text != "KILL QUERY WHERE X IN ('a', 'it\\'s') AND user = 'query_id' SYNC" || len(ids) < 2 || ids[0] != "a" || ids[1] != "it's" {
		t.Errorf("%q %q", text, ids)
	}
}

func TestSyncIsCutOff(t *testing.T) {
	for text, want := range map[string]string{"DROP TABLE t SYNC": "DROP TABLE t", "DROP TABLE t NO DELAY": "DROP TABLE t", "DROP TABLE t": "DROP TABLE t", "DROP TABLE `SYNC`": "DROP TABLE `SYNC`"} {
		if got := strings.TrimSpace(WithoutSync(text)); got != want {
			t.Errorf("%q becomes %q", text, got)
		}
	}
}

// FuzzParse holds that no text breaks the scanner and that what is called one statement is part of the text.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"SELECT 1", "INSERT INTO t (a) SETTINGS x=1 FORMAT TSV\n1", "'\\", "$a$", "/*", "((", "`", "INSERT INTO {"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := Parse(text); err == nil && !strings.HasPrefix(text, s.Text) {
			t.Fatalf("the statement %q is not the text's beginning", s.Text)
		}
		for _, complete := range []bool{false, true} {
			if insert, _, ok := ParseInsert(text, complete); ok && (insert.Data < 0 || insert.Data > len(text)) {
				t.Fatalf("data begins at %d of %d", insert.Data, len(text))
			}
		}
		statements, rest := Split(text)
		for _, s := range statements {
			if _, err := Parse(s); err != nil {
				t.Fatalf("%q is not one statement: %v", s, err)
			}
		}
		if !strings.HasSuffix(text, rest) {
			t.Fatalf("the rest %q is not the end", rest)
		}
		KillByQueryID(text, "x")
		WithoutSync(text)
	})
}

func TestStatementsAreSplit(t *testing.T) {
	for _, c := range []struct {
		text       string
		statements []string
		rest       string
	}{
		{"", nil, ""},
		{"SELECT 1", nil, "SELECT 1"},
		{"SELECT 1;", []string{"SELECT 1"}, ""},
		{"SELECT ';', $$;$$, `;` -- ;\n;\nSELECT 2 ;; SELECT", []string{"SELECT ';', $$;$$, `;` -- ;", "SELECT 2"}, " SELECT"},
		{"-- nothing\n;/* ; */", nil, ""},
		{"SELECT 'open;\nSELECT 2;", nil, "SELECT 'open;\nSELECT 2;"},
	} {
		statements, rest := Split(c.text)
		if !slices.Equal(statements, c.statements) || rest != c.rest {
			t.Errorf("%q: %q and %q", c.text, statements, rest)
		}
	}
}
