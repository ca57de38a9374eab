package semantics

import (
	"fmt"
	"slices"
	"strings"

	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/contract/rule"
)

// A type may be used in many places and may contain itself. Each pair of named types is compared once, with paths from the
// type itself; afterwards the places where the pair stands are followed from the root. So the work is linear in the number
// of pairs, recursion ends, and a hash does not depend on where else a type is used.

// maxPlaces bounds how many places of one change are listed, and how often a pair is entered while they are looked for.
const maxPlaces = 16

// pair of named types, compared by identity.
type pair struct{ base, next *avro.Schema }

// node is what was found in a pair, and which other pairs stand in it.
type node struct {
	scope string
	found []local
	edges []edge
}

// local is a change within a named type.
type local struct {
	rule rule.Rule
	// path from the type, "" for itself.
	path     string
	from, to string
	// what and do are made for the first place where the type is used.
	what, do func(at string) string
	// gone is set for a field that is not there any more; the rule then depends on who reads it.
	gone *gone
}

// gone is a field of the base that the next version does not have under its name.
type gone struct {
	fallback    string
	hasFallback bool
	renamed     string // the new name, when an alias tells
}

type edge struct {
	path string
	to   pair
}

// walk compares schemas.
type walk struct {
	// wayOut is what to do where nothing milder helps.
	wayOut string
	nodes  map[pair]*node
	// known are the named types of the base: a type that came with an added field is new where it is not among them.
	known map[string]bool
}

func (c *comparison) schemas(base, next *avro.Schema) {
	if base == nil || next == nil {
		return
	}
	w := walk{wayOut: c.newMajor(), nodes: map[pair]*node{}, known: map[string]bool{}}
	collectNames(base, w.known)
	root := &node{scope: "(root)"}
	w.types(root, base, next, "")
	for _, n := range placed(w.nodes, root) {
		for i, l := range n.node.found {
			places := make([]string, len(n.places))
			for j, prefix := range n.places {
				places[j] = join(prefix, l.path)
			}
			c.addLocal(n.node.scope, n.node.found[i], places)
		}
	}
}

func (c *comparison) addLocal(scope string, l local, places []string) {
	ch := change{rule: l.rule, scope: scope, path: l.path, places: places, from: l.from, to: l.to}
	if l.gone != nil {
		c.removal(&ch, *l.gone)
	} else {
		ch.what, ch.do = l.what(places[0]), l.do(places[0])
	}
	if len(places) > 1 {
		ch.what += fmt.Sprintf(" (also %s)", named(places[1:]))
	}
	c.add(ch)
}

// where is a node with the paths that lead to it from the root.
type where struct {
	node   *node
	places []string
}

// placed follows the edges from the root and returns the nodes in the order in which they are met.
func placed(nodes map[pair]*node, root *node) []*where {
	var order []*where
	at := map[*node]*where{}
	var onPath []*node
	var enter func(n *node, prefix string)
	enter = func(n *node, prefix string) {
		w := at[n]
		if w == nil {
			w = &where{node: n}
			at[n] = w
			order = append(order, w)
		}
		// A type within itself is described by its outermost place.
		if slices.Contains(onPath, n) || len(w.places) >= maxPlaces {
			return
		}
		w.places = append(w.places, prefix)
		onPath = append(onPath, n)
		for _, e := range n.edges {
			enter(nodes[e.to], join(prefix, e.path))
		}
		onPath = onPath[:len(onPath)-1]
	}
	enter(root, "")
	return order
}

func join(prefix, path string) string {
	if prefix == "" || path == "" || strings.ContainsRune("[{<", rune(path[0])) {
		return prefix + path
	}
	return prefix + "." + path
}

func collectNames(s *avro.Schema, names map[string]bool) {
	if s.Named() {
		if names[s.FullName()] {
			return
		}
		names[s.FullName()] = true
	}
	for _, f := range s.Fields {
		collectNames(f.Type, names)
	}
	for _, b := range s.Branches {
		collectNames(b, names)
	}
	if s.Items != nil {
		collectNames(s.Items, names)
	}
}

// types compares the types at one place.
func (w *walk) types(n *node, base, next *avro.Schema, path string) {
	switch {
	case base.Type == avro.Union || next.Type == avro.Union:
		w.unions(n, base, next, path)
	case base.Type != next.Type:
		w.promotion(n, base, next, path)
	case base.Named():
		key := pair{base, next}
		n.edges = append(n.edges, edge{path, key})
		if w.nodes[key] == nil {
			inner := &node{scope: base.FullName()}
			w.nodes[key] = inner
			w.namedTypes(inner, base, next)
		}
	default:
		w.meaning(n, base, next, path)
		if base.Items != nil {
			w.types(n, base.Items, next.Items, path+itemsStep(base))
		}
	}
}

func itemsStep(s *avro.Schema) string {
	if s.Type == avro.Map {
		return "{}"
	}
	return "[]"
}

func (n *node) add(r rule.Rule, path, from, to string, what, do func(at string) string) {
	n.found = append(n.found, local{rule: r, path: path, from: from, to: to, what: what, do: do})
}

// says makes a sentence that begins with the place.
func says(format string, args ...any) func(string) string {
	return func(at string) string { return orWhole(at) + " " + fmt.Sprintf(format, args...) }
}

// plain is advice that does not depend on the place.
func plain(advice string) func(string) string { return func(string) string { return advice } }

func orWhole(at string) string {
	if at == "" {
		return "the record itself"
	}
	return at
}

// promotion: Avro reads some types as others. Where neither reads the other the registry's own rules speak.
func (w *walk) promotion(n *node, base, next *avro.Schema, path string) {
	forth, back := readable(next.Type, base.Type), readable(base.Type, next.Type)
	if !forth && !back {
		return
	}
	from, to := base.Type.Name(), next.Type.Name()
	narrow, wide := base.Type, next.Type
	if !forth {
		narrow, wide = wide, narrow
	}
	reinterpreted := forth && back
	switch {
	case reinterpreted:
		n.add(rule.TypeChanged, path, from, to, says("becomes %s instead of %s: Avro reads one as the other without a look at what is in it", to, from),
			w.besides(path, "%s of type "+to))
	case lossy(narrow, wide):
		n.add(rule.TypeChanged, path, from, to, says("becomes %s instead of %s, and a %s does not hold every %s exactly", to, from, wide.Name(), narrow.Name()),
			w.besides(path, "%s of type "+to))
	default:
		n.add(rule.TypePromoted, path, from, to, says("becomes %s instead of %s: programs and columns made for the old type have to follow", to, from),
			w.besides(path, "%s of type "+to))
	}
	w.meaning(n, base, next, path)
}

func readable(reader, writer avro.Type) bool {
	found, err := avro.Incompatibilities(&avro.Schema{Type: reader}, &avro.Schema{Type: writer})
	return err == nil && len(found) == 0
}

// lossy: a float has 24 bits of whole numbers and a double 53.
func lossy(narrow, wide avro.Type) bool {
	return wide == avro.Float || wide == avro.Double && narrow == avro.Long
}

// besides is the advice that nearly always helps: leave the old, add the new.
func (w *walk) besides(path, description string) func(string) string {
	return func(at string) string {
		beside := "a new field"
		if at != "" {
			beside = "a new field beside " + at
		}
		if strings.Contains(description, "%s") {
			beside = fmt.Sprintf(description, beside)
		}
		return "add " + beside + ", or " + w.wayOut
	}
}

// branches of a union; any other type is a union of itself.
func branches(s *avro.Schema) []*avro.Schema {
	if s.Type == avro.Union {
		return s.Branches
	}
	return []*avro.Schema{s}
}

// unions compares two types of which at least one is a union: branches that belong together are compared, the rest came
// or went.
func (w *walk) unions(n *node, base, next *avro.Schema, path string) {
	from, to := branches(base), branches(next)
	partner := matchBranches(from, to)
	several := countOthers(from) > 1 || countOthers(to) > 1
	var order []int
	for i, b := range from {
		j := partner[i]
		if j < 0 {
			w.branchGone(n, b, path)
			continue
		}
		order = append(order, j)
		if b.Type == avro.Null {
			continue
		}
		inner := path
		if several {
			inner += "<" + branchName(b, from) + ">"
		}
		w.types(n, b, to[j], inner)
	}
	for j, b := range to {
		if !slices.Contains(partner, j) {
			w.branchCame(n, b, path)
		}
	}
	if !slices.IsSorted(order) {
		n.add(rule.UnionOrderChanged, path, namesOf(from), namesOf(to), says("lists its types as %s instead of %s", namesOf(to), namesOf(from)),
			plain("leave the order as it was"))
	}
}

func (w *walk) branchGone(n *node, b *avro.Schema, path string) {
	if b.Type == avro.Null {
		n.add(rule.NullabilityChanged, path, "nullable", "required", says("can no longer be null: records that have null there cannot be read"),
			plain("leave it nullable, and make the producers fill it"))
		return
	}
	n.add(rule.UnionChanged, path, b.FullName(), "", says("can no longer be of type %s", b.FullName()), plain("leave the type in the union"))
}

func (w *walk) branchCame(n *node, b *avro.Schema, path string) {
	if b.Type == avro.Null {
		n.add(rule.NullabilityChanged, path, "required", "nullable", says("can now be null: readers that know no null there cannot read such records"),
			w.besides(path, "%s that may be null"))
		return
	}
	n.add(rule.UnionChanged, path, "", b.FullName(), says("can now also be of type %s: readers that do not know it cannot read such records", b.FullName()),
		w.besides(path, "%s"))
}

// matchBranches gives the partner of each branch, -1 for none: the same name first, then an alias or the same last part of
// the name, then what one side can read of the other.
func matchBranches(from, to []*avro.Schema) []int {
	partner := make([]int, len(from))
	for i := range partner {
		partner[i] = -1
	}
	for _, same := range []func(b, n *avro.Schema) bool{
		func(b, n *avro.Schema) bool { return b.Type == n.Type && b.FullName() == n.FullName() },
		func(b, n *avro.Schema) bool {
			return b.Type == n.Type && b.Named() && (b.Name == n.Name || slices.Contains(n.Aliases, b.FullName()))
		},
		func(b, n *avro.Schema) bool {
			return b.Type != n.Type && (readable(n.Type, b.Type) || readable(b.Type, n.Type))
		},
	} {
		for i, b := range from {
			for j, n := range to {
				if partner[i] < 0 && !slices.Contains(partner, j) && same(b, n) {
					partner[i] = j
				}
			}
		}
	}
	return partner
}

func countOthers(all []*avro.Schema) int {
	count := 0
	for _, b := range all {
		if b.Type != avro.Null {
			count++
		}
	}
	return count
}

// branchName is the last part of a type's name where that is enough.
func branchName(b *avro.Schema, among []*avro.Schema) string {
	if !b.Named() {
		return b.Type.Name()
	}
	for _, other := range among {
		if other != b && other.Named() && other.Name == b.Name {
			return b.FullName()
		}
	}
	return b.Name
}

func namesOf(all []*avro.Schema) string {
	names := make([]string, len(all))
	for i, b := range all {
		names[i] = b.FullName()
	}
	return strings.Join(names, ", ")
}
