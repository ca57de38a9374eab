package schemaregistry

import (
	"net/http"
	"slices"
)

// idAnswer is a schema as GET /schemas/ids/{id} shows it.
type idAnswer struct {
	References []Reference `json:"references,omitempty"`
	Schema     string      `json:"schema"`
	MaxID      *int        `json:"maxId,omitempty"`
}

func (s *Server) byID(r *http.Request) (found *schemaValue, maxID int, err error) {
	id, err := parseID(r)
	if err != nil {
		return nil, 0, err
	}
	err = s.registry.read(func(st *state) error {
		maxID = st.maxID
		if found = st.byID(id); found == nil {
			return errIDNotFound(id)
		}
		return nil
	})
	return found, maxID, err
}

func (s *Server) getID(r *http.Request) (any, error) {
	v, maxID, err := s.byID(r)
	if err != nil {
		return nil, err
	}
	answer := idAnswer{References: v.References, Schema: v.Schema}
	if flag(r, "fetchMaxId") {
		answer.MaxID = &maxID
	}
	return answer, nil
}

func (s *Server) getIDText(r *http.Request) (any, error) {
	v, _, err := s.byID(r)
	if err != nil {
		return nil, err
	}
	return plainText(v.Schema), nil
}

func (s *Server) getIDSubjects(r *http.Request) (any, error) {
	uses, err := s.uses(r)
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, v := range uses {
		if !slices.Contains(names, v.Subject) {
			names = append(names, v.Subject)
		}
	}
	return names, nil
}

func (s *Server) getIDVersions(r *http.Request) (any, error) {
	uses, err := s.uses(r)
	if err != nil {
		return nil, err
	}
	type subjectVersion struct {
		Subject string `json:"subject"`
		Version int    `json:"version"`
	}
	all := []subjectVersion{}
	for _, v := range uses {
		all = append(all, subjectVersion{v.Subject, v.Version})
	}
	return all, nil
}

func (s *Server) uses(r *http.Request) (uses []*schemaValue, err error) {
	id, err := parseID(r)
	if err != nil {
		return nil, err
	}
	return uses, s.registry.read(func(st *state) error {
		if st.byID(id) == nil {
			return errIDNotFound(id)
		}
		f := live
		if flag(r, "deleted") {
			f = withDeleted
		}
		uses = st.usesOf(id, f)
		return nil
	})
}

func (s *Server) listSchemas(r *http.Request) (any, error) {
	all := []schemaAnswer{}
	return &all, s.registry.read(func(st *state) error {
		for _, name := range st.names(r.URL.Query().Get("subjectPrefix"), withDeleted) {
			versions := st.versions(name, filterOf(r))
			if flag(r, "latestOnly") && len(versions) > 0 {
				versions = versions[len(versions)-1:]
			}
			for _, v := range versions {
				all = append(all, show(v))
			}
		}
		return nil
	})
}
