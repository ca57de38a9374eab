package architecture

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What a target runs is make's expansion, in which a comma may end an argument: a campaign that was to kill three programs
// once killed one of them.
func TestTargetsRunWhatTheirHelpSays(t *testing.T) {
	for target, want := range map[string]string{
		"chaos": "chaos --stack embedded --kill loader,parser,writer",
		"chaos STACK=apache CHAOS=--outage=clickhouse": "chaos --stack apache --outage=clickhouse",
		"demo VENUES=binance,kraken DURATION=20s":      "demo --stack embedded --duration=20s --venues binance,kraken",
		"replay CAPTURE=a,b.gz SPEED=max":              `replay --stack embedded --speed=max "$CAPTURE_FILE"`,
	} {
		command := exec.Command("make", append([]string{"-n", "--no-print-directory"}, strings.Fields(target)...)...)
		command.Dir = filepath.Join("..", "..", "..")
		output, err := command.CombinedOutput()
		if err != nil || !strings.Contains(string(output), want) {
			t.Errorf("make %s: %v; it runs not %q but:\n%s", target, err, want, output)
		}
	}
}
