package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/riferrei/srclient"
	"golang.org/x/sync/singleflight"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/avro"
)

// maxCached bounds the schemas kept by id, and the ids remembered as unknown. A cluster with more live schemas than this
// is asked again for some of them.
const maxCached = 10_000

// unknownFor is how long an id stays unknown before the registry is asked again: a poisoned partition must not become a
// flood of requests, and a schema registered a moment ago must be found.
const unknownFor = time.Second

// Reference is a type that a schema uses and a version of another subject defines.
type Reference struct {
	Name    string `json:"name"`
	Subject string `json:"subject"`
	Version int    `json:"version"`
}

// Schema is a schema as the registry holds it.
type Schema struct {
	ID      int
	Subject string // empty when it was asked for by id
	Version int    // 0 when it was asked for by id
	// Text is self-contained: the types of the references are written out.
	Text string
	// Raw is the text as the registry keeps it.
	Raw        string
	References []Reference
}

// Client asks a schema registry. It is safe for concurrent use.
type Client struct {
	config  Config
	http    *http.Client
	metrics *metrics

	byID     atomic.Pointer[map[int]*Schema] // replaced whole, so that a hit takes no lock
	mutex    sync.Mutex                      // guards replacing byID, unknown and ids
	unknown  map[int]time.Time
	ids      map[string]int
	inFlight singleflight.Group

	elsewhere map[elsewhere]time.Time // guarded by mutex
}

// New makes a Client; it does not connect.
func New(config Config, registerer prometheus.Registerer) (*Client, error) {
	config, err := config.resolve()
	if err != nil {
		return nil, err
	}
	transport, err := config.transport()
	if err != nil {
		return nil, err
	}
	c := &Client{config: config, unknown: map[int]time.Time{}, ids: map[string]int{}, elsewhere: map[elsewhere]time.Time{}}
	c.http = &http.Client{Transport: transport, Timeout: config.timeout()}
	c.byID.Store(&map[int]*Schema{})
	if c.metrics, err = newMetrics(registerer, func() float64 { return float64(len(*c.byID.Load())) }); err != nil {
		return nil, fmt.Errorf("registering the schema registry's metrics: %w", err)
	}
	return c, nil
}

// URL is where the registry is asked, for messages.
func (c *Client) URL() string { return c.config.baseURL() }

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// ID returns the id under which the subject holds exactly the schema that this build was made with. ErrNotRegistered says
// that it does not; nothing is ever registered on the way.
func (c *Client) ID(ctx context.Context, subject string) (int, error) {
	c.mutex.Lock()
	id, ok := c.ids[subject]
	c.mutex.Unlock()
	if ok {
		return id, nil
	}
	built, err := schemas.Get(subject)
	if err != nil {
		return 0, err
	}
	found, err := c.Lookup(ctx, built)
	if err != nil {
		return 0, err
	}
	c.mutex.Lock()
	c.ids[subject] = found.ID
	c.mutex.Unlock()
	return found.ID, nil
}

// Lookup returns the version of the subject that is exactly this schema, by the registry's own normal form, or
// ErrNotRegistered.
func (c *Client) Lookup(ctx context.Context, s schemas.Subject) (Schema, error) {
	doing := "looking up the schema of " + s.Name
	body, err := c.body(ctx, s)
	if err == nil {
		var answer versionAnswer
		if err = c.call(ctx, http.MethodPost, "/subjects/"+escape(s.Name)+"?normalize=true", body, &answer); err == nil {
			return c.complete(ctx, answer.schema())
		}
		err = c.classify(doing, err)
	}
	if errors.Is(err, ErrNotFound) {
		return Schema{}, fmt.Errorf("%s: %w: subject %s at %s does not hold %s as this build has it; run `make register-schemas`",
			doing, ErrNotRegistered, s.Name, c.config.baseURL(), s.Path)
	}
	return Schema{}, err
}

// Register adds the schema to its subject and returns its id and version; a schema that is already there keeps both.
// Only the command line calls it: a service never registers anything.
func (c *Client) Register(ctx context.Context, s schemas.Subject) (id, version int, err error) {
	body, err := c.body(ctx, s)
	if err != nil {
		return 0, 0, err
	}
	var answer struct {
		ID int `json:"id"`
	}
	err = c.call(ctx, http.MethodPost, "/subjects/"+escape(s.Name)+"/versions?normalize=true", body, &answer)
	if err != nil {
		return 0, 0, c.classify("registering the schema of "+s.Name, err)
	}
	found, err := c.Lookup(ctx, s)
	if err != nil {
		return 0, 0, err
	}
	return answer.ID, found.Version, nil
}

// SchemaByID returns the schema of an id, from the cache when it was asked for before. ErrUnknownID: the registry has none;
// ErrUnavailable: it cannot say.
func (c *Client) SchemaByID(ctx context.Context, id int) (Schema, error) {
	if s := (*c.byID.Load())[id]; s != nil {
		return *s, nil
	}
	return c.fetchByID(ctx, id)
}

func (c *Client) fetchByID(ctx context.Context, id int) (Schema, error) {
	c.mutex.Lock()
	since, unknown := c.unknown[id]
	c.mutex.Unlock()
	if unknown && time.Since(since) < unknownFor {
		return Schema{}, fmt.Errorf("schema id %d: %w", id, ErrUnknownID)
	}
	// One request answers everyone who waits for the id. It must not die with the first of them, so it has its own time
	// limit (the client's) instead of that caller's context.
	result := c.inFlight.DoChan(strconv.Itoa(id), func() (any, error) { return c.loadByID(context.WithoutCancel(ctx), id) })
	select {
	case <-ctx.Done():
		return Schema{}, fmt.Errorf("schema id %d: %w", id, ctx.Err())
	case r := <-result:
		if r.Err != nil {
			return Schema{}, r.Err
		}
		return *r.Val.(*Schema), nil
	}
}

func (c *Client) loadByID(ctx context.Context, id int) (*Schema, error) {
	doing := fmt.Sprintf("fetching schema id %d", id)
	got, err := c.library(ctx).GetSchema(id)
	if err = c.classify(doing, err); err != nil {
		if errors.Is(err, ErrNotFound) {
			c.rememberUnknown(id)
			return nil, fmt.Errorf("%s: %w: %w", doing, ErrUnknownID, err)
		}
		return nil, err
	}
	if kind := got.SchemaType(); kind != nil && *kind != srclient.Avro && *kind != "" {
		return nil, fmt.Errorf("%s: it is a schema of type %s, not of Avro: %w", doing, *kind, ErrRefused)
	}
	s, err := c.complete(ctx, fromLibrary(got))
	if err != nil {
		return nil, err
	}
	s.ID, s.Subject, s.Version = id, "", 0
	c.remember(&s)
	return &s, nil
}

// Under says whether the subject holds a schema of this id. One that belongs to other subjects only tells nothing about the
// topic's future: the record is not from a newer program, it is in the wrong topic. A no is kept for a second, like an
// unknown id.
func (c *Client) Under(ctx context.Context, id int, subject string) (bool, error) {
	key := elsewhere{id, subject}
	c.mutex.Lock()
	since, known := c.elsewhere[key]
	c.mutex.Unlock()
	if known && time.Since(since) < unknownFor {
		return false, nil
	}
	var all []struct {
		Subject string `json:"subject"`
	}
	doing := fmt.Sprintf("asking for the subjects of schema id %d", id)
	if err := c.classify(doing, c.call(ctx, http.MethodGet, "/schemas/ids/"+strconv.Itoa(id)+"/versions", nil, &all)); err != nil {
		return false, err
	}
	for _, s := range all {
		if s.Subject == subject {
			return true, nil
		}
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if len(c.elsewhere) >= maxCached {
		clear(c.elsewhere)
	}
	c.elsewhere[key] = time.Now()
	return false, nil
}

// elsewhere is an id that a subject does not hold.
type elsewhere struct {
	id      int
	subject string
}

func (c *Client) rememberUnknown(id int) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if len(c.unknown) >= maxCached {
		clear(c.unknown)
	}
	c.unknown[id] = time.Now()
}

func (c *Client) remember(s *Schema) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	delete(c.unknown, s.ID)
	old := *c.byID.Load()
	next := make(map[int]*Schema, len(old)+1)
	if len(old) < maxCached {
		for id, known := range old {
			next[id] = known
		}
	}
	next[s.ID] = s
	c.byID.Store(&next)
}

// complete writes the types of the references out.
func (c *Client) complete(ctx context.Context, s Schema) (Schema, error) {
	texts, err := c.referenced(ctx, s.References, map[string]bool{}, 0)
	if err != nil {
		return Schema{}, err
	}
	parsed, err := avro.Parse(s.Raw, texts, avro.KeepInvalidDefaults())
	if err != nil {
		return Schema{}, fmt.Errorf("schema id %d of the registry at %s: %w: %w", s.ID, c.config.baseURL(), ErrRefused, err)
	}
	s.Text = parsed.SelfContained()
	return s, nil
}

// maxReferenceDepth bounds how deep references may lead.
const maxReferenceDepth = 32

// referenced returns the texts of the references and of theirs, each before its users.
func (c *Client) referenced(ctx context.Context, references []Reference, seen map[string]bool, depth int) ([]string, error) {
	if depth > maxReferenceDepth {
		return nil, fmt.Errorf("references lead deeper than %d: %w", maxReferenceDepth, ErrRefused)
	}
	var texts []string
	for _, r := range references {
		key := r.Subject + "/" + strconv.Itoa(r.Version)
		if seen[key] {
			continue
		}
		seen[key] = true
		got, err := c.library(ctx).GetSchemaByVersion(r.Subject, r.Version)
		if err != nil {
			return nil, c.classify(fmt.Sprintf("fetching referenced type %s (%s version %d)", r.Name, r.Subject, r.Version), err)
		}
		own := fromLibrary(got)
		below, err := c.referenced(ctx, own.References, seen, depth+1)
		if err != nil {
			return nil, err
		}
		texts = append(append(texts, below...), own.Raw)
	}
	return texts, nil
}

func fromLibrary(got *srclient.Schema) Schema {
	s := Schema{ID: got.ID(), Version: got.Version(), Raw: got.Schema()}
	for _, r := range got.References() {
		s.References = append(s.References, Reference(r))
	}
	return s
}
