package all_test

import (
	"testing"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/records"
)

// What a consumer of raw-orderbooks gets must be enough: the checksums hold on books rebuilt from the records alone.
func TestChecksumsHoldOnBooksRebuiltFromTheirRecords(t *testing.T) {
	for name, want := range map[string]int{kraken25: 2052, kraken10: 301, krakenDoc: 1, okx: 290} {
		rebuilt, verified := map[string]*market.OrderBook{}, 0
		books(t, name, func(_ recorded, b *market.Book, _ *market.OrderBook, _ market.Outcome) {
			var record records.Orderbook
			if err := record.DecodeAvro(records.AppendBook(nil, b, 0, records.Coordinates{})); err != nil {
				t.Fatal(err)
			}
			o := rebuilt[record.Instrument.Symbol]
			if o == nil {
				o = market.NewOrderBook(market.RulesOf(record.Instrument.Venue))
				rebuilt[record.Instrument.Symbol] = o
			}
			if !record.Checksum.Valid || o.Apply(&record.Book) != market.Applied {
				t.Fatalf("%s: %s", name, o.Reason())
			}
			verified++
		})
		if verified != want {
			t.Errorf("%s: %d of %d", name, verified, want)
		}
	}
}
