package simulator

import (
	"testing"

	"github.com/coder/websocket"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
	"github.com/streamforge/streamforge/services/internal/market/venue/all"
	"github.com/streamforge/streamforge/services/venue-simulator/ledger"
)

// The platform's own adapters, which are written from the venues' documents and recordings, connect to the simulator as
// they would to the venue, and read everything that it sends.
func TestThePlatformsAdaptersReadEverythingTheSimulatorSends(t *testing.T) {
	bases := map[string]string{"binance": "/binance", "binance-usdm": "/binance-usdm", "kraken": "/kraken"}
	for name, base := range bases {
		t.Run(name, func(t *testing.T) {
			s := start(t, func(c *Config) { c.Market.Rate, c.Market.Venues = 40, []string{name} })
			adapter, err := all.Get(name)
			if err != nil {
				t.Fatal(err)
			}
			var sub venue.Subscription
			sub.Channels = []venue.Channel{venue.Trades, venue.Book}
			for _, in := range s.instruments {
				instrument, err := adapter.FromVenue(in.Symbol)
				if err != nil {
					t.Fatal(err)
				}
				sub.Instruments = append(sub.Instruments, instrument)
			}
			plan, err := adapter.Connect(sub)
			if err != nil {
				t.Fatal(err)
			}
			c := dial(t, s, base+plan.Path)
			for _, m := range plan.Messages {
				c.send(string(m.Payload))
			}
			decoder := adapter.NewDecoder()
			if request, ok := adapter.Snapshot(sub.Instruments[0], sub); ok {
				checkSnapshot(t, s, decoder, base+request.Path, sub.Instruments[0])
			}
			go func() {
				awaitSent(t, s, func(r ledger.Report) bool { return r.Trades >= 200 && r.OrderbookUpdates >= 100 })
				drainInBackground(s)
			}()
			frames, err := c.rest()
			if websocket.CloseStatus(err) != websocket.StatusGoingAway {
				t.Errorf("ended with %v", err)
			}
			checkFrames(t, s, adapter.NewInspector(), decoder, frames)
		})
	}
}

func checkSnapshot(t *testing.T, s *Server, decoder venue.Decoder, path string, in market.Instrument) {
	t.Helper()
	_, body := get(t, s, path)
	var events venue.Events
	if err := decoder.Decode(venue.Frame{Kind: venue.RESTSnapshot, VenueSymbol: in.VenueSymbol, Payload: body}, &events); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	if len(events.Books) != 1 || events.Books[0].Kind != market.BookSnapshot || len(events.Books[0].Bids) < 10 {
		t.Errorf("the snapshot is read as %+v", events.Books)
	}
}

func checkFrames(t *testing.T, s *Server, inspector venue.Inspector, decoder venue.Decoder, frames [][]byte) {
	t.Helper()
	var events venue.Events
	var inspection venue.Inspection
	var trades, updates int64
	for _, f := range frames {
		inspector.Inspect(f, &inspection)
		if inspection.Class == venue.Other || inspection.Class == venue.Refused {
			t.Fatalf("the inspector finds class %d in %s", inspection.Class, f)
		}
		if gap := inspector.Continuity(&inspection); gap != nil {
			t.Fatalf("the inspector finds a gap %+v at %s", gap, f)
		}
		events.Reset()
		if err := decoder.Decode(venue.Frame{Kind: venue.WebSocketFrame, Payload: f}, &events); err != nil {
			t.Fatalf("%v in %s", err, f)
		}
		if events.Unknown != "" || len(events.Bad) > 0 {
			t.Fatalf("unknown %q, bad %v in %s", events.Unknown, events.Bad, f)
		}
		trades += int64(len(events.Trades))
		for _, b := range events.Books {
			if b.Kind == market.BookUpdate {
				updates++
			}
		}
	}
	report := s.ledger.Report(true)
	if report.Trades != trades || report.OrderbookUpdates != updates || trades < 100 || updates < 50 {
		t.Errorf("read %d trades and %d updates, the ledger says %d and %d", trades, updates, report.Trades, report.OrderbookUpdates)
	}
}
