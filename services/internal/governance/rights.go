package governance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/streamforge/streamforge/services/internal/contract"
)

// Right is one access right on Kafka. The words are Kafka's own.
type Right struct {
	// Principal is who ("User:parser"), Host from where; "*" is everywhere.
	Principal string `json:"principal"`
	Host      string `json:"host"`
	// Resource is TOPIC, GROUP, TRANSACTIONAL_ID or CLUSTER; Name is which, and with Prefixed every one that begins so.
	Resource string `json:"resource"`
	Name     string `json:"name"`
	Prefixed bool   `json:"prefixed,omitempty"`
	// Operation is READ, WRITE, …
	Operation string `json:"operation"`
	// Deny takes away instead of granting; no contract asks for that.
	Deny bool `json:"deny,omitempty"`
}

// what is the right in words, without its principal.
func (r Right) what() string {
	verb, star, from := "may", "", ""
	if r.Deny {
		verb = "may not"
	}
	if r.Prefixed {
		star = "*"
	}
	if r.Host != "*" {
		from = " from " + r.Host
	}
	return fmt.Sprintf("%s %s %s %s%s%s", verb, r.Operation, strings.ToLower(strings.ReplaceAll(r.Resource, "_", " ")), r.Name, star, from)
}

// String is the right in words.
func (r Right) String() string { return r.Principal + " " + r.what() }

// Rights is what is asked of a cluster's authorizer.
type Rights interface {
	// List every right; ErrNoAuthorizer where the cluster keeps none.
	List(ctx context.Context) ([]Right, error)
	// Grant rights; one that is there is no error.
	Grant(ctx context.Context, rights ...Right) error
	// Revoke rights; one that is not there is no error.
	Revoke(ctx context.Context, rights ...Right) error
}

// ErrNoAuthorizer: everybody may do everything on this cluster.
var ErrNoAuthorizer = errors.New("the cluster has no authorizer")

// The operations that a plan grants. DESCRIBE follows from each but the last.
const (
	opRead            = "READ"
	opWrite           = "WRITE"
	opDescribeConfigs = "DESCRIBE_CONFIGS"
)

// planRights compares the access rights that follow from who reads and who writes. Rights that no file gives are named;
// they are taken away only when Config.Revoke says so, and only from principals that the files name: the others are
// somebody else's.
func (g *Governance) planRights(ctx context.Context, p *Plan) error {
	if g.deps.Rights == nil {
		p.note(KindRight, "", "Kafka was not asked, access rights are left out")
		return nil
	}
	wanted := g.wantedRights()
	existing, err := g.deps.Rights.List(ctx)
	if errors.Is(err, ErrNoAuthorizer) {
		p.note(KindRight, "", "the cluster has no authorizer: everybody may do everything, and %d rights that the contracts give cannot be kept", len(wanted))
		return nil
	}
	if err != nil {
		return err
	}
	var missing, tooMuch []Right
	principals := map[string]bool{}
	for _, right := range wanted {
		principals[right.Principal] = true
		if slices.Contains(existing, right) {
			p.Unchanged++
		} else {
			missing = append(missing, right)
		}
	}
	sortRights(existing)
	for _, right := range existing {
		if overruled := right.overrules(wanted); overruled > 0 && !(g.config.Revoke && principals[right.Principal]) {
			how := "somebody has to take it away"
			if principals[right.Principal] {
				how = "`streamforge apply --revoke` takes it away"
			}
			p.note(KindRight, right.Principal, "%s: this overrules %d right(s) that the contracts give; %s", right.what(), overruled, how)
			continue
		}
		switch {
		case slices.Contains(wanted, right):
		case g.config.Revoke && principals[right.Principal]:
			tooMuch = append(tooMuch, right)
		case principals[right.Principal]:
			p.note(KindRight, right.Principal, "%s, which no contract says; it is left alone unless apply is told to --revoke", right.what())
		default:
			p.note(KindRight, right.Principal, "%s; no contract names this principal, it is left alone", right.what())
		}
	}
	for rights := range byPrincipal(missing) {
		p.step(Step{Kind: KindRight, Action: ActionGrant, Object: rights[0].Principal, What: fmt.Sprintf("grant %d right(s)", len(rights)), Rights: rights})
	}
	for rights := range byPrincipal(tooMuch) {
		p.step(Step{Kind: KindRight, Action: ActionRevoke, Object: rights[0].Principal, What: fmt.Sprintf("revoke %d right(s)", len(rights)), Rights: rights})
	}
	return nil
}

// overrules counts the rights that a DENY makes worthless where it holds: in Kafka a denial beats every grant.
func (r Right) overrules(wanted []Right) int {
	if !r.Deny {
		return 0
	}
	n := 0
	for _, w := range wanted {
		name := r.Name == "*" || r.Name == w.Name && r.Prefixed == w.Prefixed || r.Prefixed && strings.HasPrefix(w.Name, r.Name)
		if r.Resource == w.Resource && name && (r.Principal == w.Principal || r.Principal == "User:*") && (r.Operation == w.Operation || r.Operation == "ALL") {
			n++
		}
	}
	return n
}

// byPrincipal cuts sorted rights into one step for each principal: a request takes as long for one right as for twenty.
func byPrincipal(rights []Right) iter.Seq[[]Right] {
	return func(yield func([]Right) bool) {
		for len(rights) > 0 {
			n := slices.IndexFunc(rights, func(r Right) bool { return r.Principal != rights[0].Principal })
			if n < 0 {
				n = len(rights)
			}
			if !yield(rights[:n:n]) {
				return
			}
			rights = rights[n:]
		}
	}
}

// wantedRights are the least that the declared readers and writers can work with: a reader reads its topics and its group,
// a writer writes its topics and its transactional ids. Each may look at the settings of its topics, which programs do at
// their start (the largest message, the topic's id).
func (g *Governance) wantedRights() []Right {
	var rights []Right
	add := func(principal, resource, name, operation string, prefixed bool) {
		r := Right{Principal: principal, Host: "*", Resource: resource, Name: name, Prefixed: prefixed, Operation: operation}
		if !slices.Contains(rights, r) {
			rights = append(rights, r)
		}
	}
	topic := func(principal, product, operation string) {
		if c, ok := contract.Find(g.deps.Contracts, product); ok {
			add(principal, "TOPIC", c.Topic.Name, operation, false)
			add(principal, "TOPIC", c.Topic.Name, opDescribeConfigs, false)
		}
	}
	for _, c := range g.deps.Consumers {
		if c.View {
			continue // A view reads a table, and no topic.
		}
		add(c.Principal, "GROUP", c.Group, opRead, false)
		if i := slices.IndexFunc(g.deps.Contracts, func(p contract.Contract) bool { return contract.WriterGroup(p.Topic.Name) == c.Group }); i >= 0 {
			add(c.Principal, "GROUP", contract.BackfillGroup(g.deps.Contracts[i].Topic.Name), opRead, false)
		}
		for _, read := range c.Reads {
			topic(c.Principal, read.Product, opRead)
		}
	}
	for _, w := range g.deps.Producers {
		for _, product := range w.Writes {
			topic(w.Principal, product, opWrite)
		}
		if w.TransactionalIDs != "" {
			add(w.Principal, "TRANSACTIONAL_ID", w.TransactionalIDs, opWrite, true)
		}
	}
	sortRights(rights)
	return rights
}

func sortRights(rights []Right) {
	slices.SortFunc(rights, func(a, b Right) int {
		return cmp.Or(cmp.Compare(a.Principal, b.Principal), cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Name, b.Name), cmp.Compare(a.String(), b.String()))
	})
}
