package contract_test

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/contract"
)

const tradesPath = "market/raw-trades.yaml"

// edited is the repository's contracts with one file changed.
func edited(t *testing.T, file, from, to string) fs.FS {
	t.Helper()
	all := fstest.MapFS{}
	err := fs.WalkDir(contracts.FS, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(contracts.FS, path)
		all[path] = &fstest.MapFile{Data: text}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	old, ok := all[file]
	if !ok {
		old = &fstest.MapFile{}
	} else if !strings.Contains(string(old.Data), from) {
		t.Fatalf("%s does not contain %q", file, from)
	}
	all[file] = &fstest.MapFile{Data: []byte(strings.Replace(string(old.Data), from, to, 1))}
	return all
}

func TestAMalformedContractIsOneLineThatNamesPlaceAndRemedy(t *testing.T) {
	subjects, err := schemas.All()
	if err != nil {
		t.Fatal(err)
	}
	const parser = "consumers/parser.yaml"
	for name, c := range map[string]struct{ file, from, to, want string }{
		"broken YAML":          {tradesPath, "status: active", "status: [active", "contract raw-trades: not YAML: "},
		"a tab":                {tradesPath, "  purpose:", "\tpurpose:", "contract raw-trades: not YAML: "},
		"a key twice":          {tradesPath, "status: active", "status: active\nstatus: draft", "status"},
		"two documents":        {tradesPath, "status: active", "status: active\n---\nid: other", "2 YAML documents, one is expected in contracts/market/raw-trades.yaml"},
		"an anchor":            {tradesPath, "status: active", "status: &s active", "anchor is not used in contracts: write the value out"},
		"an unknown standard":  {tradesPath, "apiVersion: v3.1.0", "apiVersion: v2.0.0", "apiVersion is v2.0.0 in contracts/market/raw-trades.yaml:2; write v3.1.0"},
		"no owner":             {tradesPath, "role: owner", "role: steward", "nobody of team market-data has the role owner"},
		"a team's name":        {tradesPath, "  name: market-data", "  name: Market Data", "team.name is \"Market Data\" in contracts/market/raw-trades.yaml"},
		"no team":              {tradesPath, "team:\n", "teams:\n", "the file lacks team"},
		"a bare topic":         {tradesPath, "    host: kafka:9092", "    host: kafka:9092\n    topic: raw-trades", "servers.0 has no property topic in contracts/market/raw-trades.yaml:19"},
		"a bad version":        {tradesPath, "version: 1.0.0", "version: 1.0", "version is of type number in contracts/market/raw-trades.yaml:6; write a string"},
		"another major":        {tradesPath, "version: 1.0.0", "version: 2.0.0", "version 2.0.0, but topic raw-trades is of major version 1"},
		"another name":         {tradesPath, "id: raw-trades", "id: trades", "the file is named raw-trades.yaml"},
		"no partitions":        {tradesPath, "      - {property: partitions, value: 64}\n", "", "custom property partitions is missing"},
		"partitions as text":   {tradesPath, "property: partitions, value: 64", "property: partitions, value: many", "partitions is many"},
		"other partitions":     {tradesPath, "property: partitions, value: 64", "property: partitions, value: 32", "32 partitions with the key symbol in contracts/market/raw-trades.yaml:15; symbol-keyed topics are co-partitioned and have 64"},
		"a wrong level":        {tradesPath, "FULL_TRANSITIVE", "FULLY", "compatibility is \"FULLY\" in contracts/market/raw-trades.yaml:24; write one of NONE, BACKWARD"},
		"a misspelt setting":   {tradesPath, "deadLetterRate", "deadLeterRate", "custom property deadLetterRate is missing"},
		"a rate in percent":    {tradesPath, "deadLetterRate, value: 0.01", "deadLetterRate, value: 5", "write a share from 0 to 1"},
		"SQL in partitionBy":   {tradesPath, "toYYYYMMDD(received_at)", "tuple()) SETTINGS x = (1", "partitionBy is"},
		"an unknown order":     {tradesPath, "[venue, symbol, received_at, trade_id]", "[venue, sybol]", "orderBy names sybol, which is no field"},
		"order by null":        {tradesPath, "[venue, symbol, received_at, trade_id]", "[venue, event_time]", "orderBy names event_time, which may be null"},
		"a short TTL":          {tradesPath, "ttlDays, value: 30", "ttlDays, value: 3", "ttlDays 3 is shorter than the topic's retention"},
		"rows outlive frames":  {"market/raw-frames.yaml", "ttlDays, value: 30", "ttlDays, value: 20", "ttlDays 30 is longer than the 20 of raw-frames"},
		"a retention's unit":   {tradesPath, "property: retention, value: 7, unit: d", "property: retention, value: 7, unit: weeks", "retention has the unit \"weeks\""},
		"no retention":         {tradesPath, "  - {property: retention, value: 7, unit: d}\n", "", "no retention is promised"},
		"an unknown SLA":       {tradesPath, "property: latency", "property: speed", "slaProperties.0.property is speed"},
		"an SLA on nothing":    {tradesPath, "element: raw_trades.received_at", "element: raw_trades.receivd", "the element raw_trades.receivd of latency is no field"},
		"a missing field":      {tradesPath, "- name: trade_id", "- name: trade_no", "field trade_id of schemas/market/raw-trades.avsc is not listed"},
		"a field too many":     {tradesPath, "- name: trade_id", "- name: trade_no", "field trade_no is not in schemas/market/raw-trades.avsc"},
		"another type":         {tradesPath, "bytes.decimal(38,18)", "double", "field price has the physicalType double, in schemas/market/raw-trades.avsc it is bytes.decimal(38,18)"},
		"another nullability":  {tradesPath, "required: false", "required: true", "field event_time is required: true, in schemas/market/raw-trades.avsc it is nullable"},
		"a nested field":       {tradesPath, "physicalType: \"fixed(16).uuid\"", "physicalType: string", "field frame.topic_id has the physicalType string"},
		"an array's item":      {"market/raw-orderbooks.yaml", "            - name: quantity", "            - name: size", "field bids[].quantity of schemas/market/raw-orderbooks.avsc is not listed"},
		"no schema":            {"market/new-things.yaml", "", strings.NewReplacer("raw-trades", "new-things", "raw_trades", "new_things").Replace(mustRead(t, tradesPath)), "subject new-things-value has no schema in contracts/market/new-things.yaml:15; add schemas/market/new-things.avsc"},
		"not a contract":       {"market/new-things.yaml", "", "- a\n- list\n", "contract new-things: the file is of type array"},
		"an empty file":        {"market/new-things.yaml", "", "", "contract new-things: "},
		"an unknown product":   {parser, "product: raw-frames", "product: raw-frame", "consumer parser: product raw-frame has no contract in contracts/consumers/parser.yaml:6"},
		"an unknown read":      {parser, "received_at, payload", "received_at, playload", "consumer parser: raw-frames has no field playload in contracts/consumers/parser.yaml:8"},
		"another group's file": {parser, "group: parser", "group: persar", "group is \"persar\", the file is named parser.yaml"},
		"a reader's misspelt":  {parser, "principal:", "princpal:", "consumer parser: the file lacks principal"},
	} {
		t.Run(name, func(t *testing.T) {
			err := contract.Lint(edited(t, c.file, c.from, c.to), subjects)
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error is\n%v\nwithout %q", err, c.want)
			}
			for _, line := range strings.Split(err.Error(), "\n") {
				if !strings.Contains(line, " in contracts/") || len(line) > 500 {
					t.Errorf("a line without a place, or an endless one: %q", line)
				}
			}
		})
	}
}

func mustRead(t *testing.T, name string) string {
	t.Helper()
	text, err := fs.ReadFile(contracts.FS, name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{tradesPath, "platform/dead-letters.yaml", "consumers/parser.yaml"} {
		text, err := fs.ReadFile(contracts.FS, name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(aWaiver))
	f.Add([]byte(aMigration))
	f.Add([]byte("a: [*b, &b {c: !!set d}]\n---\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, problems := contract.Parse("market/x.yaml", text)
		_, consumerProblems := contract.ParseConsumer("consumers/x.yaml", text)
		w, waiverProblems := contract.ParseWaiver("waivers/x.yaml", text)
		m, migrationProblems := contract.ParseMigration("market/raw-trades.v2.migration.yaml", text)
		if len(migrationProblems) == 0 && (m.From == "" || m.To != "raw-trades.v2") {
			t.Errorf("accepted without what a migration needs: %+v", m)
		}
		if len(waiverProblems) == 0 && (!w.Rule.Waivable() || w.Product == "" || w.Approver == "") {
			t.Errorf("accepted without what a waiver needs: %+v", w)
		}
		for _, p := range slices.Concat(problems, consumerProblems, waiverProblems, migrationProblems) {
			if strings.ContainsAny(p.Error(), "\n\r") {
				t.Errorf("more than one line: %q", p.Error())
			}
		}
		if len(problems) == 0 && (c.ID == "" || c.Topic.Partitions < 1 || c.Topic.RetentionMs <= 0) {
			t.Errorf("accepted without what a topic needs: %+v", c.Topic)
		}
	})
}
