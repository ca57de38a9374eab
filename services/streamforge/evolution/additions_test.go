//go:build cgo

package evolution

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/streamforge/streamforge/services/streamforge/processtest"
)

const (
	tradeSchema   = "schemas/market/raw-trades.avsc"
	tradeContract = "contracts/market/raw-trades.yaml"
	tradeEncoder  = "services/internal/records/trade.go"
)

// edit is a change of raw-trades as its team makes it: schema, contract, and the encoder that has something to say.
type edit struct {
	name string
	// changes are file, what stood there, and what stands there now.
	changes [][3]string
	// sql is what check and plan show of it; waived is the rule that needs a waiver.
	sql    []string
	waived string
	// command brings it to the cluster.
	command []string
}

// edits come one after the other, on one platform.
var edits = []edit{
	{
		name: "a field with a default",
		changes: [][3]string{
			{
				tradeSchema, "    {\"name\": \"frame\",",
				"    {\"name\": \"venue_delay\", \"doc\": \"Microseconds from the venue's time of the trade to received_at; -1 where the venue sends none.\", \"type\": \"long\", \"default\": -1},\n    {\"name\": \"frame\",",
			},
			{tradeContract, "version: 1.0.0\n", "version: 1.1.0\n"},
			{
				tradeContract, "      - name: frame\n",
				"      - name: venue_delay\n        description: \"Microseconds from the venue's time of the trade to received_at; -1 where the venue sends none.\"\n" +
					"        logicalType: integer\n        physicalType: long\n        required: true\n      - name: frame\n",
			},
			{
				tradeEncoder, "\tdst = appendLong(dst, receivedAt)\n",
				"\tdst = appendLong(dst, receivedAt)\n\tdelay := int64(-1)\n\tif t.EventTime != market.NoTime {\n\t\tdelay = receivedAt - t.EventTime\n\t}\n\tdst = appendLong(dst, delay)\n",
			},
			{tradeEncoder, "\tt.Frame = r.coordinates(\"frame\")\n", "\tr.long(\"venue_delay\")\n\tt.Frame = r.coordinates(\"frame\")\n"},
		},
		sql:     []string{"ADD COLUMN IF NOT EXISTS `venue_delay` Int64 DEFAULT -1"},
		command: []string{"apply"},
	},
	{
		name: "a symbol of an enum",
		changes: [][3]string{
			{tradeSchema, `["UNKNOWN", "BUY", "SELL"]`, `["UNKNOWN", "BUY", "SELL", "AUCTION"]`},
			{tradeContract, "version: 1.1.0\n", "version: 1.2.0\n"},
			{tradeContract, "enum(UNKNOWN,BUY,SELL)", "enum(UNKNOWN,BUY,SELL,AUCTION)"},
			// As if an auction traded whatever has an id that ends with 7.
			{
				tradeEncoder, "\tdst = appendLong(dst, int64(t.TakerSide))\n",
				"\tside := t.TakerSide\n\tif t.ID[len(t.ID)-1] == '7' {\n\t\tside = 3\n\t}\n\tdst = appendLong(dst, int64(side))\n",
			},
			{tradeEncoder, `r.enum("taker_side", 3)`, `r.enum("taker_side", 4)`},
		},
		sql:     []string{"MODIFY COLUMN `taker_side` Enum8('UNKNOWN' = 0, 'BUY' = 1, 'SELL' = 2, 'AUCTION' = 3)"},
		command: []string{"schemas", "register"}, // what make register-schemas says
	},
	{
		name: "another default",
		changes: [][3]string{
			{tradeSchema, `"default": -1}`, `"default": 0}`},
			{tradeContract, "version: 1.2.0\n", "version: 1.3.0\n"},
		},
		sql:     []string{"MATERIALIZE COLUMN `venue_delay`", "MODIFY COLUMN `venue_delay` DEFAULT 0"},
		waived:  "default-changed",
		command: []string{"apply"},
	},
}

// oldTrade is what a consumer made of raw-trades when it was first there.
type oldTrade struct {
	TradeID   string `avro:"trade_id"`
	TakerSide string `avro:"taker_side"`
}

const oldTradeSchema = `{"type": "record", "name": "RawTrade", "namespace": "streamforge.market", "fields": [
	{"name": "trade_id", "type": "string"},
	{"name": "taker_side", "type": {"type": "enum", "name": "TakerSide", "symbols": ["UNKNOWN", "BUY", "SELL"], "default": "UNKNOWN"}}]}`

// TestASchemaGrowsUnderLoad: what an edit needs comes to the cluster, the parser is replaced by one that writes it, and the old
// writer fills the new column; an old consumer, never touched, reads everything.
func TestASchemaGrowsUnderLoad(t *testing.T) {
	builds := t.TempDir() // the second stack is given the builds of the first
	processtest.OnBothStacks(t, func(t *testing.T, kind string) {
		p := startPlatform(t, kind, "--symbols", "20", "--rate", "0.5") // 400 frames/s, which a busy machine also carries beside the builds
		seen, sides := map[position]bool{}, map[string]int64{}
		old := read(p, "momentum", "raw-trades", oldTradeSchema, func(at position, trade oldTrade) {
			if !seen[at] {
				sides[trade.TakerSide]++
			}
			seen[at] = true
		})
		ids := []int{p.latestID("raw-trades-value")}
		p.awaitWritten(ids[0])
		for i, e := range edits {
			p.judge(e)
			p.buildOnce(builds, fmt.Sprintf("v%d", i+2))
			p.bring(e)
			p.awaitWritten(ids[i]) // the old parser, after the change has come to the cluster
			p.Replace("parser")
			ids = append(ids, p.latestID("raw-trades-value"))
			p.awaitWritten(ids[i+1])
			switch i {
			case 0:
				if n := strings.Count(p.Log("writer"), `"msg":"started"`); n != 1 {
					t.Errorf("the writer was started %d times", n)
				}
				p.Replace("writer")
			case 1:
				p.rollBack(builds, "v3", ids[0])
			}
		}
		result := p.prove()
		if log := p.Log("writer"); strings.Contains(log, "is waiting") {
			t.Errorf("the writer has waited for something that should have been there:\n%s", log)
		}
		p.awaitLag("momentum", "raw-trades")
		old.stop()
		p.checkGrown(ids)
		if int64(len(seen)) != result.Trades {
			t.Errorf("the old consumer has seen %d of %d trades", len(seen), result.Trades)
		}
		if unknown := p.number("SELECT countIf(taker_side IN ('UNKNOWN', 'AUCTION')) FROM raw_trades"); sides["UNKNOWN"] != unknown || sides["AUCTION"] != 0 {
			t.Errorf("the old consumer reads %v; %d trades are of a side that it does not know", sides, unknown)
		}
	})
}

// buildOnce builds from the tree what an edit needs, unless the first stack's test has built a tree like this one.
func (p *platform) buildOnce(builds, version string) {
	p.t.Helper()
	programs := []string{"streamforge", "parser"}
	if version == "v2" {
		programs = append(programs, "writer")
	}
	folder := filepath.Join(builds, version)
	if os.Mkdir(folder, 0o755) != nil {
		p.put(folder, programs...)
		return
	}
	p.build(version, programs...)
	for _, name := range programs {
		if err := processtest.Install(filepath.Join(p.programs, name), folder); err != nil {
			p.t.Fatal(err)
		}
	}
}

// put has programs of another folder take the place of those that run.
func (p *platform) put(folder string, programs ...string) {
	p.t.Helper()
	for _, name := range programs {
		if err := processtest.Install(filepath.Join(folder, name), p.programs); err != nil {
			p.t.Fatal(err)
		}
	}
}

// rollBack has the parser be its first build for a while, which finds its schema where it was.
func (p *platform) rollBack(builds, version string, first int) {
	p.t.Helper()
	p.put(processtest.Programs(p.t), "parser")
	p.Replace("parser")
	p.awaitWritten(first)
	p.put(filepath.Join(builds, version), "parser")
	p.Replace("parser")
}

// awaitWritten waits for more rows of a schema id than there are.
func (p *platform) awaitWritten(id int) {
	p.t.Helper()
	count := fmt.Sprintf("SELECT count() FROM raw_trades WHERE _schema_id = %d", id)
	p.AwaitRows(p.number(count)+50, count)
}

// judge makes the edit in the tree, and has the tree judged: until it is, nothing is done to the cluster.
func (p *platform) judge(e edit) {
	p.t.Helper()
	for _, change := range e.changes {
		p.tree.Edit(change[0], change[1], change[2])
	}
	if e.waived != "" {
		p.waive(e)
	}
	p.streamforge(0, "contracts", "lint")
	p.shows(e, p.streamforge(0, "schemas", "check"))
	p.tree.Commit(e.name)
}

var changeHash = regexp.MustCompile(`change-[0-9a-f]{16}`)

// waive writes the waiver that the refused check asks for.
func (p *platform) waive(e edit) {
	p.t.Helper()
	refused := p.streamforge(3, "schemas", "check")
	hashes := changeHash.FindAllString(refused, -1)
	if len(hashes) != 1 || !strings.Contains(refused, e.waived) {
		p.t.Fatalf("one finding of %s was expected:\n%s", e.waived, refused)
	}
	p.tree.Write("contracts/waivers/"+e.waived+".yaml", fmt.Sprintf(
		"change: %s\nrule: %s\nproduct: raw-trades\napprover: market-data-oncall\nreason: \"Whoever reads it has been told.\"\nexpires: %s\n",
		hashes[0], e.waived, time.Now().UTC().AddDate(0, 1, 0).Format(time.DateOnly)))
}

// bring brings the edit to the cluster: the plan shows it with what the table needs before the schema, and is empty afterwards.
func (p *platform) bring(e edit) {
	p.t.Helper()
	plan := p.streamforge(2, "plan")
	p.shows(e, plan)
	if table, schema := strings.Index(plan, e.sql[0]), strings.Index(plan, "raw-trades-value"); schema < table {
		p.t.Errorf("the schema comes before what the table needs:\n%s", plan)
	}
	p.streamforge(0, e.command...)
	p.streamforge(0, "plan")
}

func (p *platform) shows(e edit, output string) {
	p.t.Helper()
	for _, sql := range e.sql {
		if !strings.Contains(output, sql) {
			p.t.Errorf("%s: no %s in\n%s", e.name, sql, output)
		}
	}
}

// checkGrown looks at every row by the version that it was written with.
func (p *platform) checkGrown(ids []int) {
	p.t.Helper()
	const delay = "if(event_time IS NULL, -1, toUnixTimestamp64Micro(received_at) - toUnixTimestamp64Micro(assumeNotNull(event_time)))"
	for i, id := range ids {
		wrong := "venue_delay != -1" // the default of the time, also after it has changed
		if i > 0 {
			wrong = "venue_delay != " + delay
		}
		sides := "taker_side = 'AUCTION'"
		if i > 1 {
			sides = "(taker_side = 'AUCTION') != endsWith(trade_id, '7')"
		}
		answer := p.MustQuery(fmt.Sprintf("SELECT countIf(%s), countIf(%s) FROM raw_trades WHERE _schema_id = %d FORMAT TSV", wrong, sides, id))
		if answer != "0\t0" {
			p.t.Errorf("version %d: %q rows have a wrong venue_delay and a wrong taker_side", i+1, answer)
		}
	}
	if n := p.number("SELECT uniqExact(_schema_id) FROM raw_trades"); n != int64(len(ids)) {
		p.t.Errorf("rows of %d versions, want %d", n, len(ids))
	}
	if answer := p.MustQuery("SELECT default_expression FROM system.columns WHERE table = 'raw_trades' AND name = 'venue_delay' FORMAT TSV"); answer != "0" {
		p.t.Errorf("the column's default is %q", answer)
	}
	p.t.Logf("rows by version:\n%s", p.MustQuery("SELECT _schema_id, count() FROM raw_trades GROUP BY 1 ORDER BY 1 FORMAT TSV"))
}
