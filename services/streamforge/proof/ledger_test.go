package proof

import (
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"
)

func TestLedgerCountsFramesAndBodiesAndSkipsTheRest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.txt")
	text := "# header\n1 0 F 00000000000000ff 10 2 1\n1 1 C 00000000000000ff 10 9 9\n\n2 0 S 00000000000000aa 20 0 1\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := ReadLedger(path)
	if err != nil {
		t.Fatal(err)
	}
	if l.frames != 2 || l.trades != 2 || l.updates != 2 || l.sent[payload{0xff, 10}] != 1 || l.sent[payload{0xaa, 20}] != 1 {
		t.Fatalf("%+v", l)
	}
}

func TestALedgerThatIsNotOneIsAnErrorWithItsLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.txt")
	if err := os.WriteFile(path, []byte("1 0 F zz 10 2 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadLedger(path); err == nil {
		t.Fatal("no error")
	}
}

func TestOffsetSetIsASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set, model := newOffsetSet(), map[[2]int64]bool{}
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			partition, offset := rapid.Int32Range(0, 3).Draw(t, "partition"), rapid.Int64Range(0, 300).Draw(t, "offset")
			key := [2]int64{int64(partition), offset}
			if again := set.add(partition, offset); again != model[key] {
				t.Fatalf("add(%d, %d) says %v", partition, offset, again)
			}
			model[key] = true
		}
		if set.count != int64(len(model)) {
			t.Fatalf("count %d, want %d", set.count, len(model))
		}
		for partition := range int32(4) {
			for offset := range int64(301) {
				if set.has(partition, offset) != model[[2]int64{int64(partition), offset}] {
					t.Fatalf("has(%d, %d) is wrong", partition, offset)
				}
			}
		}
	})
}

func TestProofFindsWhatIsLostAndWhatIsDoubled(t *testing.T) {
	sent := &Ledger{sent: map[payload]int64{{1, 1}: 2, {2, 1}: 1, {3, 1}: 1}, frames: 4}
	p := &Result{received: map[payload]int64{{1, 1}: 1, {2, 1}: 2, {3, 1}: 1}}
	p.compareLedger(sent)
	if p.Lost != 1 || p.Duplicated != 1 || len(p.Details) != 2 {
		t.Fatalf("lost %d duplicated %d: %v", p.Lost, p.Duplicated, p.Details)
	}
}

func FuzzLedgerLine(f *testing.F) {
	for _, line := range []string{"1 0 F 00000000000000ff 10 2 3", "# a comment", "", "1 0 C 0 0 0 0", "1 0 F"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		l := &Ledger{sent: map[payload]int64{}}
		if err := l.add(line); err != nil && len(l.sent) > 0 {
			t.Fatalf("%q was counted although it is bad: %v", line, err)
		}
	})
}
