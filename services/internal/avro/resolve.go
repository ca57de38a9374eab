package avro

import "fmt"

// resolve replaces the placeholders of names that were used before their definition. It goes through the types in the
// Java library's order, because there a default is validated a second time at this point, and whether it passes depends
// on which records are finished by then; so it does even where nothing is used before its definition.
func (p *parser) resolve(root *Schema) (*Schema, error) {
	if root.Named() {
		root = p.known[root.FullName()]
	}
	r := resolver{parser: p, replaced: map[*Schema]bool{}, complete: map[*Schema]bool{}, target: map[*Schema]*Schema{}}
	for _, s := range p.order {
		if err := r.visit(s); err != nil {
			return nil, err
		}
	}
	if err := r.visit(root); err != nil {
		return nil, err
	}
	seen := map[*Schema]bool{}
	for _, s := range p.order {
		r.substitute(s, seen)
	}
	r.substitute(root, seen)
	return root, nil
}

type resolver struct {
	parser   *parser
	replaced map[*Schema]bool
	complete map[*Schema]bool
	target   map[*Schema]*Schema // placeholder to type
	nesting  int
}

// step is a type to visit, or with after set the end of that visit.
type step struct {
	schema *Schema
	after  bool
}

func (r *resolver) visit(start *Schema) error {
	if r.nesting++; r.nesting > maxJSONDepth {
		return fmt.Errorf("types refer to each other deeper than %d", maxJSONDepth)
	}
	defer func() { r.nesting-- }()
	visited := map[*Schema]bool{}
	stack := []step{{schema: start}}
	for len(stack) > 0 {
		top := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if top.after {
			if err := r.leave(top.schema); err != nil {
				return err
			}
			continue
		}
		s := top.schema
		if visited[s] || s.Type != Record && s.Type != Union && s.Items == nil {
			r.replaced[s] = true
			continue
		}
		visited[s] = true
		if err := r.enter(s); err != nil {
			return err
		}
		stack = append(stack, step{s, true})
		for i := len(s.Fields) - 1; i >= 0; i-- {
			stack = append(stack, step{schema: s.Fields[i].Type})
		}
		for _, branch := range s.Branches {
			stack = append(stack, step{schema: branch})
		}
		if s.Items != nil {
			stack = append(stack, step{schema: s.Items})
		}
	}
	return nil
}

func (r *resolver) enter(s *Schema) error {
	if s.Type != Record || r.replaced[s] {
		return nil
	}
	if !s.placeholder {
		r.replaced[s] = true
		return nil
	}
	target := r.parser.known[s.unresolved]
	if target == nil {
		return fmt.Errorf("undefined schema: %s", s.unresolved)
	}
	r.target[s] = target
	if !r.replaced[target] {
		if err := r.visit(target); err != nil {
			return err
		}
	}
	r.replaced[s] = true
	return nil
}

func (r *resolver) leave(s *Schema) error {
	r.replaced[s] = true
	switch {
	case s.Type == Union:
		return checkUnion(&Schema{Branches: r.targets(s.Branches)})
	case s.Type != Record || s.placeholder || r.complete[s]:
		return nil
	}
	for _, f := range s.Fields {
		if err := r.checkDefault(f); err != nil {
			return fmt.Errorf("record %s: %w", s.FullName(), err)
		}
	}
	r.complete[s] = true
	return nil
}

func (r *resolver) targets(all []*Schema) []*Schema {
	out := make([]*Schema, len(all))
	for i, s := range all {
		if out[i] = r.target[s]; out[i] == nil {
			out[i] = s
		}
	}
	return out
}

func (r *resolver) checkDefault(f *Field) error {
	if f.fallback == nil || r.parser.lenient {
		return nil
	}
	resolved := *f
	resolved.Type = r.view(f.Type, map[*Schema]*Schema{})
	return r.parser.checkDefault(&resolved, func(s *Schema) bool { return r.complete[s] })
}

// view copies the unnamed containers around placeholders, so that a default can be checked against the real types while
// the originals stay untouched until everything is known to be right.
func (r *resolver) view(s *Schema, made map[*Schema]*Schema) *Schema {
	if target := r.target[s]; target != nil {
		return target
	}
	if s.Type != Union && s.Items == nil {
		return s
	}
	if known := made[s]; known != nil {
		return known
	}
	c := &Schema{Type: s.Type}
	made[s] = c
	for _, branch := range s.Branches {
		c.Branches = append(c.Branches, r.view(branch, made))
	}
	if s.Items != nil {
		c.Items = r.view(s.Items, made)
	}
	return c
}

func (r *resolver) substitute(s *Schema, seen map[*Schema]bool) {
	if s == nil || seen[s] {
		return
	}
	seen[s] = true
	for _, f := range s.Fields {
		if target := r.target[f.Type]; target != nil {
			f.Type = target
		}
		r.substitute(f.Type, seen)
	}
	s.Branches = r.targets(s.Branches)
	for _, branch := range s.Branches {
		r.substitute(branch, seen)
	}
	if target := r.target[s.Items]; target != nil {
		s.Items = target
	}
	r.substitute(s.Items, seen)
}
