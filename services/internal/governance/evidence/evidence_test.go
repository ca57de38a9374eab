package evidence_test

import (
	"bytes"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/streamforge/streamforge/services/internal/governance/evidence"
)

const file = `{
  "cluster": "production",
  "date": "2026-11-22",
  "recordsPerPartition": 200,
  "products": [
    {
      "product": "raw-trades",
      "groups": [
        {
          "group": "notebook",
          "members": false
        },
        {
          "group": "writer.raw-trades",
          "members": true,
          "readUpTo": "2026-11-22"
        }
      ],
      "versions": [
        {
          "version": 1,
          "schemaId": 3,
          "lastWritten": "2026-11-21",
          "producers": [
            "parser@1.3.0",
            "parser@1.4.0"
          ]
        },
        {
          "schemaId": 77,
          "lastWritten": "2026-11-22",
          "producers": []
        }
      ]
    }
  ]
}
`

func parse(t *testing.T, text string) evidence.Snapshot {
	t.Helper()
	s, err := evidence.Parse("evidence/production.json", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEncodeIsSortedAndTheSameAgain(t *testing.T) {
	s := parse(t, file)
	p := &s.Products[0]
	p.Groups[0], p.Groups[1] = p.Groups[1], p.Groups[0]
	p.Versions[0], p.Versions[1] = p.Versions[1], p.Versions[0]
	p.Versions[1].Producers = []string{"parser@1.4.0", "parser@1.3.0", "parser@1.4.0"}
	text, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(file, string(text)); d != "" {
		t.Error(d)
	}
}

func TestEncodeRefusesWhatCouldBeAnAddress(t *testing.T) {
	for name, change := range map[string]func(*evidence.Snapshot){
		"cluster": func(s *evidence.Snapshot) { s.Cluster = "kafka-1.internal:9092" },
		"producer": func(s *evidence.Snapshot) {
			s.Products[0].Versions[0].Producers = []string{"https://user:password@host"}
		},
		"folder": func(s *evidence.Snapshot) { s.Cluster = "../consumers" },
	} {
		s := parse(t, file)
		change(&s)
		if text, err := s.Encode(); err == nil {
			t.Errorf("%s: written as\n%s", name, text)
		}
	}
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want string }{
		"no JSON":         {"{\n", "", "is not JSON"},
		"another cluster": {"production", "staging", "named after the cluster"},
		"no such day":     {`"date": "2026-11-22"`, `"date": "2026-13-22"`, "is no day"},
		"an address":      {`"cluster": "production"`, `"cluster": "production", "bootstrap": "kafka:9092"`, "bootstrap"},
		"no date":         {`"date": "2026-11-22",`, "", "date"},
	} {
		_, err := evidence.Parse("evidence/production.json", []byte(strings.Replace(file, c.from, c.to, 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want one line that says %q", name, err, c.want)
		}
	}
}

func TestLoad(t *testing.T) {
	if none, err := evidence.Load(fstest.MapFS{}); err != nil || len(none) != 0 {
		t.Errorf("no folder gives %v, %v", none, err)
	}
	staging := strings.Replace(file, "production", "staging", 1)
	all, err := evidence.Load(fstest.MapFS{"evidence/staging.json": {Data: []byte(staging)}, "evidence/production.json": {Data: []byte(file)}, "evidence/README.md": {Data: []byte("x")}})
	if err != nil || len(all) != 2 || all[0].Cluster != "production" {
		t.Fatalf("%v, %v", all, err)
	}
	const want = "without a member on 2026-11-22, has read nothing of the last 30 days (production); without a member on 2026-11-22, has read nothing of the last 30 days (staging)"
	if got := evidence.Live(all, "raw-trades", "notebook"); got != want {
		t.Errorf("the idle group is %q", got)
	}
	if got := evidence.Live(all, "raw-trades", "nobody"); got != "" {
		t.Errorf("a group of no snapshot is %q", got)
	}
	if _, err := evidence.Load(fstest.MapFS{"evidence/large.json": {Data: bytes.Repeat([]byte(" "), 17<<20)}}); err == nil || !strings.Contains(err.Error(), "bytes") {
		t.Errorf("17 MiB were read: %v", err)
	}
}

// FuzzParse: what is read can be written, and what is written is read as the same.
func FuzzParse(f *testing.F) {
	f.Add([]byte(file))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := evidence.Parse("evidence/production.json", text)
		if err != nil {
			return
		}
		once, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := evidence.Parse("evidence/production.json", once)
		if err != nil {
			t.Fatal(err)
		}
		if twice, err := again.Encode(); err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%v\n%s\n%s", err, once, twice)
		}
	})
}
