package all_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/market/venue/all"
)

func TestEveryVenueIsFoundByItsNameAndAnUnknownOneIsToldTheNames(t *testing.T) {
	if want := []string{"binance", "binance-usdm", "bybit", "bybit-linear", "coinbase", "kraken", "okx"}; !slices.Equal(all.Names(), want) {
		t.Errorf("%v, want %v", all.Names(), want)
	}
	for _, name := range all.Names() {
		adapter, err := all.Get(name)
		if err != nil || adapter.Name() != name {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if renderer, err := all.NewRenderer(name); err != nil || renderer == nil {
			t.Errorf("%s: no renderer: %v", name, err)
		}
		checkManners(t, adapter)
	}
	for _, err := range []error{func() error { _, err := all.Get("mtgox"); return err }(), func() error { _, err := all.NewRenderer("mtgox"); return err }()} {
		if err == nil || !strings.Contains(err.Error(), `"mtgox"`) || !strings.Contains(err.Error(), "binance, binance-usdm, bybit") {
			t.Error(err)
		}
	}
}

// checkManners holds what the loader relies on of every adapter.
func checkManners(t *testing.T, a venue.Adapter) {
	t.Helper()
	limits, liveness := a.Limits(), a.Liveness()
	for _, url := range []string{a.WebSocketURL(), a.RESTURL()} {
		if strings.HasSuffix(url, "/") || !strings.HasPrefix(url, "wss://") && !strings.HasPrefix(url, "https://") {
			t.Errorf("%s: endpoint %q", a.Name(), url)
		}
	}
	if limits.MessagesPerSecond <= 0 || limits.ConnectionsPerMinute <= 0 {
		t.Errorf("%s: %+v: a rate of 0 would never send", a.Name(), limits)
	}
	if liveness.IdleTimeout <= 0 || liveness.Ping != nil && liveness.PingAfter >= liveness.IdleTimeout {
		t.Errorf("%s: %+v: the ping must go out before the connection counts as dead", a.Name(), liveness)
	}
	symbol := "BTC-USDT"
	if strings.HasSuffix(a.Name(), "-usdm") || strings.HasSuffix(a.Name(), "-linear") {
		symbol += "-PERP"
	}
	instrument, err := a.Instrument(symbol)
	if err != nil {
		t.Error(err)
		return
	}
	s := venue.Subscription{Instruments: []market.Instrument{instrument}, Channels: []venue.Channel{venue.Trades, venue.Book}}
	plan, err := a.Connect(s)
	if err != nil || len(plan.Messages) == 0 {
		t.Errorf("%s: %+v, %v", a.Name(), plan, err)
	}
	ids := map[string]bool{}
	again := a.Resubscribe(instrument, s)
	for _, m := range append(plan.Messages, again...) {
		if !m.Text || len(m.Payload) == 0 || len(m.VenueSymbols) == 0 || m.RequestID != "" && ids[m.RequestID] {
			t.Errorf("%s: message %+v", a.Name(), m)
		}
		ids[m.RequestID] = true
	}
	// A fresh book comes one way or the other.
	if request, ok := a.Snapshot(instrument, s); ok == (len(again) > 0) || ok && (request.Weight <= 0 || request.Weight > limits.RESTWeightPerMinute) {
		t.Errorf("%s: snapshot %+v, resubscription of %d messages", a.Name(), request, len(again))
	}
}
