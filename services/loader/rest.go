package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/streamforge/streamforge/services/internal/market"
	"github.com/streamforge/streamforge/services/internal/market/venue"
)

const (
	restTimeout = 15 * time.Second
	// restShare is the part of the venue's weight that the loader uses at most: others may share the address.
	restShare = 0.8
	// restQueue bounds the requests that wait; a symbol has at most one.
	restQueue = 8192
	// restPause is how long a venue is left alone after a 429 or 418 without Retry-After.
	restPause    = time.Minute
	restPauseMax = 24 * time.Hour
)

// restJob is a snapshot to fetch.
type restJob struct {
	ctx     context.Context
	link    *link
	symbol  *symbol
	request venue.SnapshotRequest
}

// restClient fetches snapshots from one venue's REST endpoint, one after the other and within the venue's weight.
type restClient struct {
	venue    string
	endpoint string
	adapter  venue.Adapter
	decoder  venue.Decoder
	http     *http.Client
	jobs     chan restJob
	log      *slog.Logger
	metrics  *metrics
	budget   int
	now      func() time.Time

	// Only touched by the goroutine of run.
	window      time.Time // minute that used belongs to
	used        int
	pausedUntil time.Time
}

func newRESTClient(feed *Feed, log *slog.Logger, m *metrics) *restClient {
	budget := int(restShare * float64(feed.Adapter.Limits().RESTWeightPerMinute))
	m.restBudget.WithLabelValues(feed.Venue).Set(float64(budget))
	return &restClient{
		venue: feed.Venue, endpoint: feed.restEndpoint(), adapter: feed.Adapter, decoder: feed.Adapter.NewDecoder(),
		http: &http.Client{Timeout: restTimeout}, jobs: make(chan restJob, restQueue), log: log.With("venue", feed.Venue),
		metrics: m, budget: budget, now: time.Now,
	}
}

// submit queues a job; false: the queue is full, ask again later.
func (r *restClient) submit(job restJob) bool {
	select {
	case r.jobs <- job:
		return true
	default:
		return false
	}
}

// run works until ctx ends.
func (r *restClient) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case job := <-r.jobs:
			if !sleep(ctx, r.wait(job.request.Weight)) {
				return
			}
			r.do(ctx, job)
		}
	}
}

// wait says how long to wait before spending weight. The venue counts by the wall clock's minutes.
func (r *restClient) wait(weight int) time.Duration {
	now := r.now()
	if now.Before(r.pausedUntil) {
		return r.pausedUntil.Sub(now)
	}
	minute := now.Truncate(time.Minute)
	if !minute.Equal(r.window) {
		r.window, r.used = minute, 0
	}
	if r.used > 0 && r.used+weight > r.budget {
		next := minute.Add(time.Minute)
		r.window, r.used = next, 0
		return next.Sub(now) + jitter(200*time.Millisecond)
	}
	return 0
}

func (r *restClient) do(ctx context.Context, job restJob) {
	if job.ctx.Err() != nil {
		return
	}
	r.used += job.request.Weight
	body, err := r.fetch(ctx, job.request)
	r.metrics.restWeight.WithLabelValues(r.venue).Set(float64(r.used))
	if ctx.Err() != nil && err != nil {
		return
	}
	if err != nil {
		job.link.restFailed(job.symbol, err)
		return
	}
	job.link.restAnswer(job.symbol, job.request, r.updateID(job, body), time.Now().UnixMicro(), body)
}

// fetch returns the body of a good answer, verbatim.
func (r *restClient) fetch(ctx context.Context, request venue.SnapshotRequest) ([]byte, error) {
	httpRequest, err := http.NewRequestWithContext(ctx, http.MethodGet, r.endpoint+request.Path, nil)
	if err != nil {
		return nil, fmt.Errorf("asking for a snapshot: %w", err)
	}
	response, err := r.http.Do(httpRequest)
	if err != nil {
		r.metrics.restRequests.WithLabelValues(r.venue, "error").Inc()
		return nil, fmt.Errorf("asking for a snapshot: %w", err)
	}
	defer response.Body.Close()
	r.metrics.restRequests.WithLabelValues(r.venue, strconv.Itoa(response.StatusCode)).Inc()
	if used, ok := r.adapter.UsedWeight(response.Header); ok {
		r.used = max(r.used, used)
	}
	if wantsPeace(response.StatusCode) {
		pause := retryAfter(response.Header, r.now())
		r.pausedUntil = r.now().Add(pause)
		return nil, fmt.Errorf("asking for a snapshot: the venue answered %s and wants to be left alone for %s", response.Status, pause)
	}
	if response.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(io.LimitReader(response.Body, 64<<10))
		return nil, fmt.Errorf("asking for a snapshot at %s: the venue answered %s: %s", r.endpoint+request.Path, response.Status, words(why))
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, MaxFrameBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading a snapshot of %s: %w", request.Path, err)
	}
	if len(body) > MaxFrameBytes {
		return nil, fmt.Errorf("reading a snapshot of %s: %w: more than %d bytes", request.Path, errRESTTooLarge, MaxFrameBytes)
	}
	return body, nil
}

var errRESTTooLarge = errors.New("REST body too large")

// words makes one short line of an answer that is no snapshot.
func words(body []byte) string {
	const most = 200
	text := strings.Join(strings.Fields(strings.ToValidUTF8(string(body), "?")), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// wantsPeace says that the venue refuses because too much was asked of it (429), or has banned the address (418).
func wantsPeace(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusTeapot
}

// retryAfter reads the header in both of its forms.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil && seconds >= 0 {
		return min(time.Duration(seconds)*time.Second, restPauseMax)
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(0, at.Sub(now)), restPauseMax)
	}
	return restPause
}

// updateID reads how far a snapshot reaches, with the venue's own decoder; invalid when it cannot be read.
func (r *restClient) updateID(job restJob, body []byte) market.OptInt {
	var events venue.Events
	err := r.decoder.Decode(venue.Frame{
		Kind: venue.RESTSnapshot, VenueSymbol: job.symbol.instrument.VenueSymbol, Request: job.request.Path, Payload: body,
	}, &events)
	if err != nil || len(events.Books) == 0 {
		return market.OptInt{}
	}
	return events.Books[0].LastUpdateID
}

// restClients are the REST clients by endpoint: the budget belongs to the endpoint, not to a feed.
type restClients struct {
	mu   sync.Mutex
	all  map[string]*restClient
	make func(feed *Feed) *restClient
}

func (c *restClients) of(feed *Feed) *restClient {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := feed.restEndpoint()
	if c.all[key] == nil {
		c.all[key] = c.make(feed)
	}
	return c.all[key]
}
