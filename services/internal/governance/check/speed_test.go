package check_test

import (
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/governance/check"
	"github.com/streamforge/streamforge/services/internal/governance/history/historytest"
)

// largeRepository has so many products with so many versions each, all of them with a reference to one shared type, and a
// working tree in which one of them breaks. It is written with git fast-import, since a thousand commits take long otherwise.
func largeRepository(t testing.TB, products, versions int) *historytest.Repository {
	t.Helper()
	r := historytest.New(t)
	var b strings.Builder
	file := func(name, text string) { fmt.Fprintf(&b, "M 100644 inline %s\ndata %d\n%s\n", name, len(text), text) }
	commit := func() {
		b.WriteString("commit refs/heads/main\ncommitter A <a@example.org> 1767225600 +0000\ndata 1\nx\n")
	}
	commit()
	file("schemas/m/Place.avsc", `{"type":"record","name":"Place","namespace":"n","fields":[{"name":"x","type":"int"},{"name":"y","type":"int","default":0}]}`)
	for p := range products {
		id := fmt.Sprintf("product-%d", p)
		file("contracts/m/"+id+".yaml", contractText(id, avro.LevelFullTransitive))
	}
	for v := range versions {
		for p := range products {
			commit()
			file(fmt.Sprintf("schemas/m/product-%d.avsc", p), growing(p, v))
		}
	}
	command := exec.Command("git", "fast-import", "--quiet")
	command.Dir, command.Env, command.Stdin = r.Dir, historytest.Environment(), strings.NewReader(b.String())
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("git fast-import: %v\n%s", err, out)
	}
	r.Git("checkout", "-q", "-f", "main")
	r.Write(map[string]string{"schemas/m/product-0.avsc": strings.Replace(growing(0, versions-1), `"price"`, `"cost"`, 1)})
	return r
}

// growing is a schema of 30 fields and one more with each version.
func growing(product, version int) string {
	fields := []string{`{"name":"price","doc":"The price.","type":{"type":"bytes","logicalType":"decimal","precision":38,"scale":18}}`, `{"name":"place","doc":"Where.","type":"n.Place"}`}
	for i := range 28 {
		fields = append(fields, fmt.Sprintf(`{"name":"field_%d","doc":"What it is and in which unit it counts.","type":["null",{"type":"long","logicalType":"timestamp-micros"}],"default":null}`, i))
	}
	for i := range version {
		fields = append(fields, fmt.Sprintf(`{"name":"added_%d","doc":"A field that came later.","type":"long","default":%d}`, i, i))
	}
	return fmt.Sprintf(`{"type":"record","name":"Product%d","namespace":"n","doc":"A product.","fields":[%s]}`, product, strings.Join(fields, ",\n"))
}

// TestAThousandVersionsTakeSeconds holds the time that a pull request waits: 50 products of 20 versions each.
func TestAThousandVersionsTakeSeconds(t *testing.T) {
	r := largeRepository(t, 50, 20)
	report := timed(t, r, "one product changed")
	if len(report.Subjects) != 1 || report.Same != 50 || report.ExitCode() != check.ExitIncompatible || report.Subjects[0].Before != 20 {
		t.Errorf("report: %d subjects, %d the same, exit code %d", len(report.Subjects), report.Same, report.ExitCode())
	}
	for _, f := range report.Subjects[0].Findings {
		if f.Layer == check.Confluent && len(f.Versions) != 20 {
			t.Errorf("%s at %s fails against versions %v, want all 20", f.Rule, f.Path, f.Versions)
		}
	}
	r.Write(map[string]string{"schemas/m/Place.avsc": `{"type":"record","name":"Place","namespace":"n","fields":[{"name":"x","type":"long"}]}`})
	if report = timed(t, r, "a type of all products changed"); len(report.Subjects) != 51 {
		t.Errorf("%d subjects changed, want all 50 and the type", len(report.Subjects))
	}
}

func timed(t *testing.T, r *historytest.Repository, what string) check.Report {
	t.Helper()
	began, before := time.Now(), processorTime(t)
	report, err := check.Run(t.Context(), check.Options{Dir: r.Dir})
	if err != nil {
		t.Fatal(err)
	}
	// The processor time, git's included, does not depend on what else the machine does.
	took := processorTime(t) - before
	t.Logf("50 products of 20 versions, %s: %s of processor time, %s by the clock", what, took, time.Since(began))
	// Ours takes five seconds of it. What grows with the square of the versions takes minutes; a slow processor takes twice as long.
	if took > time.Minute {
		t.Errorf("the check took %s of processor time", took)
	}
	return report
}

// processorTime of this process and of the children that have ended.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var total time.Duration
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var used syscall.Rusage
		if err := syscall.Getrusage(who, &used); err != nil {
			t.Fatal(err)
		}
		total += time.Duration(used.Utime.Nano() + used.Stime.Nano())
	}
	return total
}

func BenchmarkCheck(b *testing.B) {
	r := largeRepository(b, 50, 20)
	for b.Loop() {
		if _, err := check.Run(b.Context(), check.Options{Dir: r.Dir}); err != nil {
			b.Fatal(err)
		}
	}
}
