package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/market"
)

// The wide product is 60 columns and 1.6 kB a record. It is nobody's: its contract and schema are laid over the repository's when
// the programs are built for this case, and no program that anybody else runs knows them.
const (
	wideTopic = "bench-wide"
	wideTable = "bench_wide"
)

type wideField struct{ name, avro, logical, physical string }

// wideFields are venue and symbol, 31 texts, 14 decimals, 12 numbers and a time.
func wideFields() []wideField {
	text := func(name string) wideField { return wideField{name, `"string"`, "string", "string"} }
	fields := []wideField{text("venue"), text("symbol"), {"received_at", `{"type":"long","logicalType":"timestamp-micros"}`, "timestamp", "long.timestamp-micros"}}
	for i := range 31 {
		fields = append(fields, text(fmt.Sprintf("text_%02d", i)))
	}
	for i := range 14 {
		fields = append(fields, wideField{fmt.Sprintf("amount_%02d", i), `{"type":"bytes","logicalType":"decimal","precision":38,"scale":18}`, "number", "bytes.decimal(38,18)"})
	}
	for i := range 12 {
		fields = append(fields, wideField{fmt.Sprintf("number_%02d", i), `"long"`, "integer", "long"})
	}
	return fields
}

func wideSchema() schemas.Subject {
	var fields []string
	for _, f := range wideFields() {
		fields = append(fields, fmt.Sprintf(`{"name":"%s","doc":"One of sixty.","type":%s}`, f.name, f.avro))
	}
	text := `{"type":"record","name":"BenchWide","namespace":"streamforge.bench","doc":"A wide record of the benchmark.","fields":[` + strings.Join(fields, ",") + "]}"
	return schemas.Subject{Name: wideTopic + "-value", Path: "market/" + wideTopic + ".avsc", Text: text}
}

// wideContract is the contract of raw-trades with other names and fields.
func wideContract(trades string) string {
	head, _, _ := strings.Cut(trades, "\nschema:\n")
	_, tail, _ := strings.Cut(trades, "\nslaProperties:\n")
	text := strings.NewReplacer("raw-trades", wideTopic, "raw_trades", wideTable, "[venue, symbol, received_at, trade_id]", "[venue, symbol, received_at]").Replace(head)
	text += "\nschema:\n  - name: " + wideTable + "\n    physicalName: " + wideTopic + "\n    physicalType: topic\n    logicalType: object\n    description: A wide record of the benchmark.\n    properties:\n"
	for _, f := range wideFields() {
		text += fmt.Sprintf("      - name: %s\n        description: One of sixty.\n        logicalType: %s\n        physicalType: %s\n        required: true\n", f.name, f.logical, f.physical)
		if f.name == "venue" || f.name == "symbol" {
			text += "        customProperties:\n          - {property: clickhouse.lowCardinality, value: true}\n"
		}
	}
	return text + "\nslaProperties:\n" + strings.ReplaceAll(tail, "raw_trades", wideTable)
}

// wideTexts make a record of 1.6 kB.
const wideText = "the quick brown fox jumps over the lazy dogs"

func wide(dst []byte, in *market.Instrument, i int, received int64) []byte {
	text := func(s string) {
		dst = appendLong(dst, int64(len(s)))
		dst = append(dst, s...)
	}
	text(in.Venue)
	text(in.Symbol)
	dst = appendLong(dst, received)
	for column := range 31 {
		at := (i + column) % 10
		text(wideText[at:] + wideText[:at])
	}
	for column := range 14 {
		dst = market.NewDecimal(int64(1+(i+column)*104_729%1_000_003), 5).AppendAvro(dst)
	}
	for column := range 12 {
		dst = appendLong(dst, int64(i*7919+column))
	}
	return dst
}

// appendLong is Avro's zigzag.
func appendLong(dst []byte, n int64) []byte {
	for u := uint64(n<<1) ^ uint64(n>>63); ; u >>= 7 {
		if u < 0x80 {
			return append(dst, byte(u))
		}
		dst = append(dst, byte(u)|0x80)
	}
}

// buildWide builds the two programs that carry contracts, with the wide product's laid over. It runs in the repository.
func (c *runCommand) buildWide(ctx context.Context) error {
	dir, err := filepath.Abs(filepath.Join(c.Dir, "wide"))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	trades, err := os.ReadFile("contracts/market/raw-trades.yaml")
	if err != nil {
		return fmt.Errorf("the case wide builds programs; run it in the repository's folder: %w", err)
	}
	producer, err := os.ReadFile("contracts/producers/parser.yaml")
	if err != nil {
		return err
	}
	files := map[string]string{
		"contracts/market/" + wideTopic + ".yaml": wideContract(string(trades)),
		"schemas/market/" + wideTopic + ".avsc":   wideSchema().Text,
		"contracts/producers/parser.yaml":         strings.Replace(string(producer), "[raw-trades,", "["+wideTopic+", raw-trades,", 1),
	}
	replaced := map[string]string{}
	for name, text := range files {
		over, err := filepath.Abs(name)
		if err != nil {
			return err
		}
		replaced[over] = filepath.Join(dir, strings.ReplaceAll(name, "/", "_"))
		if err := os.WriteFile(replaced[over], []byte(text), 0o644); err != nil {
			return err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o644); err != nil {
		return err
	}
	command := exec.CommandContext(ctx, "go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", dir+"/", "./services/streamforge", "./services/writer")
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("building the programs with the wide product: %w\n%s", err, output)
	}
	c.Programs = dir
	return nil
}
