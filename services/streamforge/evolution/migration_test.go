//go:build cgo

package evolution

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/governance/migration/convert"
	"github.com/streamforge/streamforge/services/internal/governance/migration/migrationtest"
	"github.com/streamforge/streamforge/services/internal/kafka"
	"github.com/streamforge/streamforge/services/streamforge/processtest"
)

const (
	v1 = "raw-trades"
	v2 = "raw-trades.v2"
	// the view over both tables
	joined = "raw_trades_v2_joined"
)

// tradeKey is what a venue calls a trade; both versions have it.
type tradeKey struct {
	Venue   string `avro:"venue"`
	Symbol  string `avro:"symbol"`
	TradeID string `avro:"trade_id"`
}

// tradeKeySchema is what a reader of a version was written against.
func tradeKeySchema(version string) string {
	return `{"type": "record", "name": "RawTrade", "namespace": "streamforge.market` + strings.TrimPrefix(version, v1) + `", "fields": [
	{"name": "venue", "type": "string"}, {"name": "symbol", "type": "string"}, {"name": "trade_id", "type": "string"}]}`
}

// follower is a consumer group that counts how often it is given each trade, over both versions.
type follower struct {
	p     *platform
	group string
	*reader
	given map[tradeKey]int
	// before is how many trades it was given of the earlier version.
	before int
}

func (p *platform) follow(group string) *follower {
	p.t.Helper()
	f := &follower{p: p, group: group, given: map[tradeKey]int{}}
	f.start(v1)
	return f
}

func (f *follower) start(version string) {
	f.p.t.Helper()
	seen := map[position]bool{}
	f.reader = read(f.p, f.group, version, tradeKeySchema(version), func(at position, trade tradeKey) {
		// A batch that was undone comes again, at the same offsets.
		if !seen[at] {
			f.given[trade]++
		}
		seen[at] = true
	})
}

// cutOver stops the group, moves it and starts it on the later version. It is refused until the broker has forgotten the member
// that stopped, and as long as the converter is behind it.
func (f *follower) cutOver() {
	f.p.t.Helper()
	f.stop()
	f.before = len(f.given)
	if f.before == 0 {
		f.p.t.Errorf("group %s was given nothing of %s", f.group, v1)
	}
	f.p.moved(f.group)
	f.start(v2)
}

func (p *platform) moved(group string) {
	p.t.Helper()
	processtest.Await(p.t, "the cut-over of group "+group, 2*time.Minute, func() error {
		output, status := p.try("product", "cutover", v2, "--group", group)
		switch status {
		case 0:
			return nil
		case 3:
			return fmt.Errorf("%s", output)
		}
		p.t.Fatalf("cutover of group %s: status %d\n%s", group, status, output)
		return nil
	})
	if again := p.streamforge(0, "product", "cutover", v2, "--group", group); !strings.Contains(again, "nothing to do") {
		p.t.Errorf("a second cut-over:\n%s", again)
	}
}

// exactlyOnce: every trade was given once, some of them by each version.
func (f *follower) exactlyOnce(trades int64) {
	f.p.t.Helper()
	f.p.awaitLag(f.group, v2)
	f.stop()
	for trade, n := range f.given {
		if n != 1 {
			f.p.t.Errorf("group %s was given %+v %d times", f.group, trade, n)
		}
	}
	if int64(len(f.given)) != trades || len(f.given) == f.before {
		f.p.t.Errorf("group %s was given %d of %d trades, %d of them by %s", f.group, len(f.given), trades, f.before, v1)
	}
}

// converter starts `streamforge convert` as a process, and waits until it works.
func (p *platform) converter(direction string) *converting {
	p.t.Helper()
	c := &converting{p: p, log: filepath.Join(p.t.TempDir(), "convert.log")}
	address := filepath.Join(p.t.TempDir(), "address")
	c.Cmd = p.tree.Command(".", p.Addresses(), filepath.Join(p.programs, "streamforge"),
		"convert", v2, "--direction", direction, "--http-address", "127.0.0.1:0", "--http-address-file", address)
	log := must[*os.File](p.t)(os.Create(c.log))
	defer log.Close()
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		if c.ProcessState == nil {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
		if p.t.Failed() {
			p.t.Logf("convert %s:\n%s", direction, c.said())
		}
	})
	processtest.Await(p.t, "the converter "+direction+" to work", 90*time.Second, func() error {
		at, err := os.ReadFile(address)
		if err != nil {
			return err
		}
		_, err = processtest.Get(p.t.Context(), "GET", "http://"+strings.TrimSpace(string(at))+"/readyz", "")
		return err
	})
	return c
}

// converting is a converter that runs.
type converting struct {
	*exec.Cmd
	p   *platform
	log string
}

func (c *converting) said() string {
	text, _ := os.ReadFile(c.log)
	return string(text)
}

// kill is kill -9.
func (c *converting) kill() {
	c.p.t.Helper()
	if err := c.Process.Kill(); err != nil {
		c.p.t.Fatal(err)
	}
	_ = c.Wait()
}

// drain has it stop, and then converts what is left; the version that it reads must have no producer any more.
func (c *converting) drain(direction string) {
	c.p.t.Helper()
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		c.p.t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		c.p.t.Errorf("the converter %s ended with %v", direction, err)
	}
	if said := c.p.streamforge(0, "convert", v2, "--direction", direction, "--until-drained", "--http-address", "127.0.0.1:0"); !strings.Contains(said, "convert: drained: every record of ") {
		c.p.t.Errorf("the converter says:\n%s", said)
	}
}

// compare has to find both versions the same, and at least so many records of them.
func (p *platform) compare(up, down int64) (report convert.Report) {
	p.t.Helper()
	text := p.streamforge(0, "product", "compare", v2, "--json")
	if err := json.Unmarshal([]byte(text), &report); err != nil {
		p.t.Fatalf("%v\n%s", err, text)
	}
	if report.Up.Compared < up || report.Down.Compared < down || report.Up.Diverted+report.Down.Diverted+report.Up.Expired+report.Down.Expired > 0 {
		p.t.Errorf("compared: %s", text)
	}
	return report
}

// install builds programs from the tree, and puts them in the place of those that run.
func (p *platform) install(version string, programs ...string) {
	p.t.Helper()
	dir := p.t.TempDir()
	p.tree.Build(dir, version, programs...)
	for _, name := range programs {
		if err := processtest.Install(filepath.Join(dir, name), p.programs); err != nil {
			p.t.Fatal(err)
		}
	}
}

// TestANewMajorVersionTakesOverUnderLoad goes the way that CONTRIBUTING describes.
func TestANewMajorVersionTakesOverUnderLoad(t *testing.T) {
	processtest.OnBothStacks(t, func(t *testing.T, kind string) {
		p := startPlatform(t, kind, "--symbols", "20")
		shipped := p.contracts
		early, late := p.follow("momentum"), p.follow("volatility")
		p.AwaitRows(200, "SELECT count() FROM raw_trades")

		// The later version comes to the cluster, and is filled from the earlier one.
		p.declareV2()
		p.install("v2", "streamforge", "writer")
		p.streamforge(2, "plan")
		p.streamforge(0, "apply")
		p.streamforge(0, "plan")
		p.Replace("writer")
		up := p.converter("up")
		p.AwaitRows(200, "SELECT count() FROM raw_trades_v2")
		up.kill()
		up = p.converter("up")
		p.AwaitRows(p.number("SELECT count() FROM raw_trades")+100, "SELECT count() FROM raw_trades_v2")
		p.compare(300, 0)

		// A group moves while the earlier version is the origin.
		early.cutOver()

		// The origin changes: the producer stops, the converter drains, the producer writes the later version.
		p.streamforge(0, "product", "join", v2)
		p.streamforge(0, "contracts", "lint")
		p.Stop("parser")
		up.drain("up")
		p.writeV2()
		p.install("v2-origin", "streamforge", "parser")
		p.streamforge(2, "plan")
		p.streamforge(0, "apply")
		p.streamforge(0, "plan")
		p.Continue("parser")
		down := p.converter("down")
		own := p.number("SELECT count() FROM raw_trades_v2")
		p.AwaitRows(own+200, "SELECT count() FROM raw_trades_v2")
		down.kill()
		down = p.converter("down")
		p.AwaitRows(own+300, "SELECT count() FROM raw_trades")
		p.compare(300, 100)

		// A group that was on the earlier version all along moves behind the switch.
		late.cutOver()
		p.AwaitRows(p.number("SELECT count() FROM raw_trades_v2")+100, "SELECT count() FROM raw_trades_v2")

		p.drain()
		down.drain("down")
		p.awaitLag(contract.WriterGroup(v1), v1)
		p.contracts = shipped
		result := p.proven()
		last := p.compare(300, 100)
		if n := last.Up.Compared + last.Down.Compared; n != result.Trades || last.Up.Waiting+last.Down.Waiting != 0 {
			t.Errorf("%d of %d trades compared: %+v", n, result.Trades, last)
		}
		for _, table := range []string{"raw_trades_v2", joined} {
			if answer := p.MustQuery("SELECT count(), uniqExact(venue, symbol, trade_id) FROM " + table + " FORMAT TSV"); answer != fmt.Sprintf("%d\t%[1]d", result.Trades) {
				t.Errorf("%s: %q rows and trades, want %d", table, answer, result.Trades)
			}
		}
		early.exactlyOnce(result.Trades)
		late.exactlyOnce(result.Trades)
		t.Logf("%d trades, %d converted up and %d down; %s was given %d by v1, %s %d", result.Trades, last.Up.Compared, last.Down.Compared, early.group, early.before, late.group, late.before)
		p.retire()
	})
}

// declareV2 is the change that brings the later version: schema, contract, migration, and who converts.
func (p *platform) declareV2() {
	p.t.Helper()
	for file, text := range migrationtest.TradesV2(p.t) {
		p.tree.Write(file, text)
	}
	p.tree.Write("contracts/producers/convert.yaml", "producer: convert\nowner: market-data\nprincipal: User:convert\nwrites: [raw-trades, raw-trades.v2, dead-letters]\ntransactionalIds: convert.raw-trades.v2.\n")
	for direction, reads := range map[string]string{"up": v1, "down": v2} {
		p.tree.Write("contracts/consumers/convert.raw-trades.v2."+direction+".yaml", fmt.Sprintf(
			"group: convert.raw-trades.v2.%s\nowner: market-data\nprincipal: User:convert\nreads:\n  - product: %s\n    schemaVersion: 1\n    fields: [venue, symbol, trade_id, price, taker_side, event_time, received_at, frame]\n", direction, reads))
	}
	p.streamforge(0, "contracts", "lint")
	p.streamforge(0, "schemas", "check")
	p.tree.Commit("raw-trades.v2")
	p.contracts = must[[]contract.Contract](p.t)(contract.Load(os.DirFS(filepath.Join(p.tree.Dir, "contracts"))))
}

// writeV2 makes the later version the parser's.
func (p *platform) writeV2() {
	p.t.Helper()
	for _, change := range [][3]string{
		{"contracts/producers/parser.yaml", "writes: [raw-trades, ", "writes: [raw-trades.v2, "},
		{tradeEncoder, "\tdst = appendString(dst, t.Instrument.VenueSymbol)\n", "\tdst = append(dst, 2, 0) // no fee\n"},
		{tradeEncoder, "\tdst = t.Price.AppendAvro(dst)\n", "\tdst = appendPrice(dst, t.Price)\n"},
		{tradeEncoder, "import \"github.com/streamforge/streamforge/services/internal/market\"\n", `import (
	"math/big"

	"github.com/streamforge/streamforge/services/internal/market"
)

// appendPrice writes eight digits after the point.
func appendPrice(dst []byte, d market.Decimal) []byte {
	b := new(big.Int).Quo(new(big.Int).SetBytes(d.AppendAvro(nil)[1:]), big.NewInt(10_000_000_000)).Bytes()
	if len(b) == 0 || b[0] > 0x7f {
		b = append([]byte{0}, b...)
	}
	return append(append(dst, byte(2*len(b))), b...)
}
`},
	} {
		p.tree.Edit(change[0], change[1], change[2])
	}
	for _, file := range must[[]string](p.t)(filepath.Glob(filepath.Join(p.tree.Dir, "services/parser/*.go"))) {
		name := must[string](p.t)(filepath.Rel(p.tree.Dir, file))
		p.tree.Write(name, strings.NewReplacer(`"raw-trades"`, `"raw-trades.v2"`, `"raw-trades-value"`, `"raw-trades.v2-value"`).Replace(p.tree.Read(name)))
	}
	p.streamforge(0, "contracts", "lint")
	p.tree.Commit("the parser writes raw-trades.v2")
}

// retire is refused for a group that nobody has moved and for what is declared, and then done.
func (p *platform) retire() {
	p.t.Helper()
	var held []kafka.Committed
	for partition := range int32(64) {
		held = append(held, kafka.Committed{TopicPartition: kafka.TopicPartition{Topic: v1, Partition: partition}})
	}
	if err := p.admin.SetGroupOffsets(p.t.Context(), "holdout", held); err != nil {
		p.t.Fatal(err)
	}
	refused := p.streamforge(3, "product", "retire", v1)
	for _, want := range []string{
		"holdout (nobody: no file in contracts/consumers/): it has offsets on raw-trades and no member",
		"convert (market-data): contracts/producers/convert.yaml declares that it writes raw-trades",
		"convert.raw-trades.v2.up (market-data): contracts/consumers/convert.raw-trades.v2.up.yaml declares that it reads raw-trades",
	} {
		if !strings.Contains(refused, want) {
			p.t.Errorf("no %q in\n%s", want, refused)
		}
	}
	for _, moved := range []string{"momentum", "volatility", "parser (", "writer.raw-trades"} {
		if strings.Contains(refused, "  "+moved) {
			p.t.Errorf("%s holds the product:\n%s", moved, refused)
		}
	}
	p.moved("holdout")
	p.tree.Write("contracts/producers/convert.yaml", strings.Replace(p.tree.Read("contracts/producers/convert.yaml"), "[raw-trades, ", "[", 1))
	if err := os.Remove(filepath.Join(p.tree.Dir, "contracts/consumers/convert.raw-trades.v2.up.yaml")); err != nil {
		p.t.Fatal(err)
	}
	processtest.Await(p.t, "raw-trades to be retired", 2*time.Minute, func() error {
		// A converter that has stopped is a member until its session's timeout.
		if output, status := p.try("product", "retire", v1); status != 0 {
			return fmt.Errorf("status %d: %s", status, output)
		}
		return nil
	})
	p.streamforge(0, "contracts", "lint")
	if !strings.Contains(p.tree.Read(tradeContract), "\nstatus: retired\n") {
		p.t.Errorf("the contract does not say that it is retired:\n%s", p.tree.Read(tradeContract))
	}
	// Nothing was deleted on the way.
	if topics := must[[]string](p.t)(p.admin.ListTopics(p.t.Context())); !slices.Contains(topics, v1) {
		p.t.Errorf("%s is not among the topics any more: %v", v1, topics)
	}
	if n, table := p.number("SELECT count() FROM "+joined), p.number("SELECT count() FROM raw_trades_v2"); n != table {
		p.t.Errorf("the view has %d rows and the table %d", n, table)
	}
}
