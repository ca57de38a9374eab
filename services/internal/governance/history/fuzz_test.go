package history

import (
	"bufio"
	"strings"
	"testing"
)

func FuzzParseLog(f *testing.F) {
	f.Add("0123abcd\x00\n:000000 100644 0000 3ea8 A\x00schemas/m/t.avsc\x00:100644 000000 3ea8 0000 D\x00schemas/m/u.avsc\x004567\x00")
	f.Add("0123abcd\x00\n:000000 120000 0000 3ea8 A\x00a link\x00")
	f.Add("\x00:\x00")
	f.Fuzz(func(t *testing.T, out string) {
		steps, err := parseLog(out)
		if err != nil {
			return
		}
		for _, s := range steps {
			if s.commit == "" {
				t.Errorf("a step without a commit in %q", out)
			}
		}
		wantedBlobs(steps)
	})
}

func FuzzReadBatch(f *testing.F) {
	f.Add("3ea8 blob 2\n{}\n77 blob 0\n\n", 2)
	f.Add("3ea8 missing\n", 1)
	f.Add("3ea8 blob 9999999999\n", 1)
	f.Add("3ea8 blob -1\n", 1)
	f.Fuzz(func(t *testing.T, out string, n int) {
		n = max(0, min(n, 100))
		texts, err := readBatch(bufio.NewReader(strings.NewReader(out)), n)
		if err != nil {
			return
		}
		total := 0
		for _, text := range texts {
			total += len(text)
		}
		if total > len(out) || len(texts) > n {
			t.Errorf("%d bytes in %d texts out of %d bytes", total, len(texts), len(out))
		}
	})
}
