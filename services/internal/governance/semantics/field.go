package semantics

import (
	"fmt"
	"slices"
	"strings"

	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/contract/rule"
)

// fields compares the fields of two records. Paths carry the base's names, which are those that readers know.
func (w *walk) fields(n *node, base, next *avro.Schema) {
	var order []int
	matched := map[*avro.Field]bool{}
	for _, f := range base.Fields {
		same := next.Field(f.Name)
		if same == nil {
			same = successor(base, next, f.Name)
			w.fieldGone(n, f, same)
		}
		if same == nil || matched[same] {
			continue
		}
		matched[same] = true
		order = append(order, slices.Index(next.Fields, same))
		w.field(n, f, same)
	}
	if !slices.IsSorted(order) {
		n.add(rule.FieldOrderChanged, "", fieldNames(base), fieldNames(next), says("(%s) has its fields in another order", base.FullName()), plain("leave the order, and add fields at the end"))
	}
	for _, f := range next.Fields {
		if !matched[f] {
			w.undocumented(n, f, f.Name, map[*avro.Schema]bool{})
		}
	}
}

// successor finds the new field that has taken over from an old one by naming it as its alias.
func successor(base, next *avro.Schema, old string) *avro.Field {
	i := slices.IndexFunc(next.Fields, func(f *avro.Field) bool { return slices.Contains(f.Aliases, old) && base.Field(f.Name) == nil })
	if i < 0 {
		return nil
	}
	return next.Fields[i]
}

func fieldNames(s *avro.Schema) string {
	names := make([]string, len(s.Fields))
	for i, f := range s.Fields {
		names[i] = f.Name
	}
	return strings.Join(names, ",")
}

func (w *walk) field(n *node, base, next *avro.Field) {
	path := base.Name
	if strings.TrimSpace(base.Doc) != "" && strings.TrimSpace(next.Doc) == "" {
		n.add(rule.DocRemoved, path, base.Doc, "", says("loses its documentation %q", short(base.Doc)), plain("put it back, or write a better one"))
	}
	aliasesGone(n, path, base.Name, base.Aliases, append(slices.Clone(next.Aliases), next.Name))
	if base.Order != next.Order {
		n.add(rule.SortOrderChanged, path, base.Order, next.Order, says("sorts %s instead of %s", next.Order, base.Order), plain("leave the order, if anybody sorts by it"))
	}
	w.attributes(n, path, base, next)
	from, had := base.Default()
	to, has := next.Default()
	defaults(n, path, "default", canonical(from), canonical(to), had, has)
	w.types(n, base.Type, next.Type, path)
}

func (w *walk) fieldGone(n *node, f, heir *avro.Field) {
	g := gone{}
	text, has := f.Default()
	g.fallback, g.hasFallback = canonical(text), has
	if heir != nil {
		g.renamed = heir.Name
	}
	n.found = append(n.found, local{path: f.Name, from: f.Name, to: g.renamed, gone: &g})
}

// removal words the loss of a field by who reads it.
func (c *comparison) removal(ch *change, g gone) {
	at := ch.places[0]
	ch.readers = c.readersOf(ch.places...)
	happened, do := at+" is removed", "leave the field and stop filling it; remove it once no declared reader reads it"
	if g.renamed != "" {
		happened = fmt.Sprintf("%s is renamed to %s", at, g.renamed)
		do = fmt.Sprintf("leave %s and add %s beside it; remove the old one once no declared reader reads it", at, g.renamed)
	}
	ch.do = do
	verb := "reads"
	if len(ch.readers) > 1 {
		verb = "read"
	}
	switch {
	case len(ch.readers) > 0 && g.hasFallback:
		ch.rule = rule.FieldSilentlyDefaulted
		ch.what = fmt.Sprintf("%s, and %s, which %s it, would silently get %s in every new record", happened, named(ch.readers), verb, g.fallback)
	case len(ch.readers) > 0:
		ch.rule = rule.FieldStillRead
		ch.what = fmt.Sprintf("%s, and %s, which %s it, can read no new record with the older schema", happened, named(ch.readers), verb)
	case g.renamed != "":
		ch.rule = rule.FieldRenamed
		ch.what = happened + "; no declared reader reads it, but tables keep both columns and queries have to follow"
	default:
		ch.rule = rule.FieldRemoved
		ch.what = happened + "; no declared reader reads it"
	}
}

// undocumented looks at an added field and at what came with it.
func (w *walk) undocumented(n *node, f *avro.Field, path string, seen map[*avro.Schema]bool) {
	if strings.TrimSpace(f.Doc) == "" {
		n.add(rule.FieldUndocumented, path, "", path, says("is added without documentation"), plain("give it a \"doc\" that says what it is, in which unit"))
	}
	w.undocumentedIn(n, f.Type, path, seen)
}

func (w *walk) undocumentedIn(n *node, s *avro.Schema, path string, seen map[*avro.Schema]bool) {
	switch {
	case s.Items != nil:
		w.undocumentedIn(n, s.Items, path+itemsStep(s), seen)
	case s.Type == avro.Union:
		for _, b := range s.Branches {
			inner := path
			if countOthers(s.Branches) > 1 {
				inner += "<" + branchName(b, s.Branches) + ">"
			}
			w.undocumentedIn(n, b, inner, seen)
		}
	case s.Type == avro.Record && !seen[s] && !w.known[s.FullName()]:
		seen[s] = true
		for _, f := range s.Fields {
			w.undocumented(n, f, path+"."+f.Name, seen)
		}
	}
}
