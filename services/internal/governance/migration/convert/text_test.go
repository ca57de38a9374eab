package convert

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/governance/migration/migrationtest"
)

func TestASourceIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Source{
			Topic: rapid.StringMatching(`[a-zA-Z0-9._-]{1,40}`).Draw(t, "topic"), TopicID: [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id")),
			Partition: rapid.Int32Range(0, 1<<31-1).Draw(t, "partition"), Offset: rapid.Int64Range(0, 1<<62).Draw(t, "offset"),
		}
		if got, err := ParseSource(s.String()); err != nil || got != s {
			t.Fatalf("%s: %+v, %v", s, got, err)
		}
	})
	for _, text := range []string{
		"", "raw-trades", "raw-trades/6f1c0ff2-0d6f-4a0c-9ba8-0123456789ab/3", "/6f1c0ff2-0d6f-4a0c-9ba8-0123456789ab/3/5",
		"raw-trades/6F1C0FF2-0d6f-4a0c-9ba8-0123456789ab/3/5", "raw-trades/6f1c0ff20d6f4a0c9ba80123456789ab/3/5",
		"raw-trades/6f1c0ff2-0d6f-4a0c-9ba8-0123456789ab/03/5", "raw-trades/6f1c0ff2-0d6f-4a0c-9ba8-0123456789ab/3/-5",
		"raw-trades/6f1c0ff2-0d6f-4a0c-9ba8-0123456789ab/3/5/7", "raw-trades/6f1c0ff2-0d6f-4a0c-9ba8-0123456789ab/4294967296/5",
	} {
		if s, err := ParseSource(text); err == nil {
			t.Errorf("%q is read as %+v", text, s)
		}
	}
}

// TestAJoinIsWrittenBesideTheRest: once, again with other offsets, and over one that a person has laid out in another way.
func TestAJoinIsWrittenBesideTheRest(t *testing.T) {
	const name = "market/raw-trades.v2.migration.yaml"
	text := migrationtest.TradesV2(t)[migrationtest.Migration]
	join := contract.Join{TopicID: "6f1c0ff2-0d6f-4a0c-9ba8-0123456789ab", Offsets: []int64{3, 0, 7}}
	for _, before := range []string{text, strings.TrimRight(text, "\n"), strings.Replace(text, "fields:\n", "joinAt:\n  topicId: 6f1c0ff2-0d6f-4a0c-9ba8-0123456789ab\n  offsets:\n    - 1\n    - 2\nfields:\n", 1)} {
		once, err := WithJoin(name, []byte(before), join)
		if err != nil {
			t.Fatal(err)
		}
		twice, err := WithJoin(name, once, join)
		if err != nil || string(twice) != string(once) {
			t.Errorf("written again (%v):\n%s\nafter\n%s", err, twice, once)
		}
		m, problems := contract.ParseMigration(name, once)
		if len(problems) > 0 || m.JoinAt == nil || m.JoinAt.TopicID != join.TopicID || !slices.Equal(m.JoinAt.Offsets, join.Offsets) || len(m.Fields) != 4 || !strings.HasPrefix(string(once), "# quantity is renamed") {
			t.Errorf("%v\n%s", problems, once)
		}
	}
}

func TestARetiredContractChangesInOneLine(t *testing.T) {
	text := []byte("id: raw-trades\nstatus: active # since 2026\ndescription:\n  status: x\n")
	got, err := Retired(text)
	if want := "id: raw-trades\nstatus: retired\ndescription:\n  status: x\n"; err != nil || string(got) != want {
		t.Errorf("%v\n%s", err, got)
	}
	if _, err := Retired([]byte("id: raw-trades\n")); err == nil {
		t.Error("a contract without a status is retired")
	}
}
