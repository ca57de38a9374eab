package semantics

import (
	"fmt"
	"slices"
	"strings"

	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/contract/rule"
)

// namedTypes compares two records, enums or fixed.
func (w *walk) namedTypes(n *node, base, next *avro.Schema) {
	w.names(n, base, next)
	if base.Doc != "" && strings.TrimSpace(next.Doc) == "" && strings.TrimSpace(base.Doc) != "" {
		n.add(rule.DocRemoved, "", base.Doc, "", says("(%s) loses its documentation %q", base.FullName(), short(base.Doc)), plain("put it back, or write a better one"))
	}
	aliasesGone(n, "", base.FullName(), base.Aliases, append(slices.Clone(next.Aliases), next.FullName()))
	w.meaning(n, base, next, "")
	switch base.Type {
	case avro.Record:
		w.fields(n, base, next)
	case avro.Enum:
		w.enums(n, base, next)
	}
}

// names: the rules compare the last part of the name. Where that differs and no alias tells, they speak themselves.
func (w *walk) names(n *node, base, next *avro.Schema) {
	from, to := base.FullName(), next.FullName()
	switch {
	case from == to:
	case slices.Contains(next.Aliases, from):
		n.add(rule.NameAliased, "", from, to, says("has the type %s instead of %s, which stays as an alias: readers with the older schema do not know it", to, from),
			plain("leave the name, unless every reader has been told"))
	case base.Name == next.Name:
		n.add(rule.NameChanged, "", from, to, says("has the type %s instead of %s: generated code, unions and most libraries take that for another type", to, from),
			plain(fmt.Sprintf("leave the namespace, or keep the old name as an alias: \"aliases\": [%q]", from)))
	}
}

func aliasesGone(n *node, path, what string, base, next []string) {
	for _, alias := range base {
		if !slices.Contains(next, alias) {
			n.add(rule.AliasRemoved, path, alias, "", says("(%s) loses the alias %s: what was written under that name can no longer be read", what, alias), plain("leave the alias"))
		}
	}
}

// enums: symbols have numbers on the wire and in tables, and a default takes the place of those that a reader does not know.
func (w *walk) enums(n *node, base, next *avro.Schema) {
	for _, s := range base.Symbols {
		// Without a default the registry's rules refuse it.
		if !slices.Contains(next.Symbols, s) && next.EnumDefault != "" {
			n.add(rule.EnumSymbolRemoved, "", s, next.EnumDefault, says("no longer has the symbol %s: records with it silently read as %s", s, next.EnumDefault),
				plain("leave the symbol and stop writing it"))
		}
	}
	var kept, came []string
	before := map[string][]string{} // symbol that came → kept symbols behind it
	for i, s := range next.Symbols {
		if slices.Contains(base.Symbols, s) {
			kept = append(kept, s)
			continue
		}
		came = append(came, s)
		for _, later := range next.Symbols[i+1:] {
			if slices.Contains(base.Symbols, later) {
				before[s] = append(before[s], later)
			}
		}
	}
	var keptBase []string
	for _, s := range base.Symbols {
		if slices.Contains(next.Symbols, s) {
			keptBase = append(keptBase, s)
		}
	}
	const do = "leave the order, and add symbols at the end"
	if !slices.Equal(kept, keptBase) {
		n.add(rule.EnumOrderChanged, "", strings.Join(keptBase, ","), strings.Join(kept, ","), says("has its symbols in the order %s instead of %s: their numbers change", named(kept), named(keptBase)), plain(do))
	}
	for _, s := range came {
		if later := before[s]; len(later) > 0 {
			n.add(rule.EnumOrderChanged, "", "", s+" before "+strings.Join(later, ","), says("has the new symbol %s before %s: their numbers change", s, named(later)), plain(do))
		}
		// Without a default in the base, readers of the older version fail, and the registry's rules say so.
		if base.EnumDefault != "" {
			n.add(rule.EnumSymbolAdded, "", "", s, says("has the new symbol %s: readers with the older schema read it as %s", s, base.EnumDefault), plain("see that no reader decides by "+base.EnumDefault))
		}
	}
	defaults(n, "", "enum default", base.EnumDefault, next.EnumDefault, base.EnumDefault != "", next.EnumDefault != "")
}

// defaults compares what stands in for a value that is not there.
func defaults(n *node, path, what, from, to string, had, has bool) {
	switch {
	case had && !has:
		n.add(rule.DefaultRemoved, path, from, "", says("loses its %s %s", what, from), plain("leave the default: without one the next change has no way back"))
	case !had && has:
		n.add(rule.DefaultAdded, path, "", to, says("gets the %s %s", what, to), plain("nothing, if that is what a missing value means"))
	case from != to:
		n.add(rule.DefaultChanged, path, from, to, says("has the %s %s instead of %s: the same missing value now reads differently, also in what was written long ago", what, to, from),
			plain("leave the default; if the old one was wrong, add a new field"))
	}
}

func short(text string) string {
	const longest = 60
	if len(text) <= longest {
		return text
	}
	return strings.ToValidUTF8(text[:longest], "") + "…"
}
