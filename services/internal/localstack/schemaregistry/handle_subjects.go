package schemaregistry

import "net/http"

// schemaAnswer is a version as the API shows it.
type schemaAnswer struct {
	Subject    string      `json:"subject"`
	Version    int         `json:"version"`
	ID         int         `json:"id"`
	References []Reference `json:"references,omitempty"`
	Schema     string      `json:"schema"`
}

func show(v *schemaValue) schemaAnswer {
	return schemaAnswer{v.Subject, v.Version, v.ID, v.References, v.Schema}
}

func filterOf(r *http.Request) filter {
	switch {
	case flag(r, "deletedOnly"):
		return deletedOnly
	case flag(r, "deleted"):
		return withDeleted
	}
	return live
}

func (s *Server) listSubjects(r *http.Request) (any, error) {
	names := []string{}
	return &names, s.registry.read(func(st *state) error {
		names = append(names, st.names(r.URL.Query().Get("subjectPrefix"), filterOf(r))...)
		return nil
	})
}

func (s *Server) listVersions(r *http.Request) (any, error) {
	subject, err := subjectOf(r)
	if err != nil {
		return nil, err
	}
	numbers := []int{}
	return &numbers, s.registry.read(func(st *state) error {
		f := filterOf(r)
		exists := live
		if f != live {
			exists = withDeleted
		}
		if len(st.versions(subject, exists)) == 0 {
			return errSubjectNotFound(subject)
		}
		for _, v := range st.versions(subject, f) {
			numbers = append(numbers, v.Version)
		}
		return nil
	})
}

// find returns the version of the path.
func (s *Server) find(r *http.Request, f filter) (found *schemaValue, err error) {
	subject, err := subjectOf(r)
	if err != nil {
		return nil, err
	}
	number, err := parseVersion(r.PathValue("version"))
	if err != nil {
		return nil, err
	}
	err = s.registry.read(func(st *state) error {
		if found = st.version(subject, number, f); found != nil {
			return nil
		}
		if len(st.versions(subject, f)) == 0 {
			return errSubjectNotFound(subject)
		}
		return errVersionNotFound(number)
	})
	return found, err
}

func (s *Server) getVersion(r *http.Request) (any, error) {
	v, err := s.find(r, filterOf(r))
	if err != nil {
		return nil, err
	}
	return show(v), nil
}

func (s *Server) getVersionText(r *http.Request) (any, error) {
	v, err := s.find(r, filterOf(r))
	if err != nil {
		return nil, err
	}
	return plainText(v.Schema), nil
}

func (s *Server) getReferencedBy(r *http.Request) (any, error) {
	v, err := s.find(r, withDeleted)
	if err != nil {
		return nil, err
	}
	ids := []int{}
	return &ids, s.registry.read(func(st *state) error {
		ids = append(ids, st.referencedBy(v.Subject, v.Version)...)
		return nil
	})
}

func (s *Server) lookupSchema(r *http.Request) (any, error) {
	subject, err := subjectOf(r)
	if err != nil {
		return nil, err
	}
	var q request
	if err := readBody(r, &q); err != nil {
		return nil, err
	}
	var found *schemaValue
	err = s.registry.read(func(st *state) error {
		f := live
		if flag(r, "deleted") {
			f = withDeleted
		}
		if len(st.versions(subject, f)) == 0 {
			return errSubjectNotFound(subject)
		}
		v, parsed, err := st.parse(&q, false, flag(r, "normalize"))
		if err != nil {
			return err
		}
		if found = st.lookup(subject, v, parsed, f); found == nil {
			return errSchemaNotFound()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return show(found), nil
}

func (s *Server) registerSchema(r *http.Request) (any, error) {
	subject, err := subjectOf(r)
	if err != nil {
		return nil, err
	}
	var q request
	if err := readBody(r, &q); err != nil {
		return nil, err
	}
	id, err := s.registry.Register(r.Context(), subject, &q, flag(r, "normalize"))
	if err != nil {
		return nil, err
	}
	return map[string]int{"id": id}, nil
}

func (s *Server) deleteSubject(r *http.Request) (any, error) {
	subject, err := subjectOf(r)
	if err != nil {
		return nil, err
	}
	return s.registry.DeleteSubject(r.Context(), subject, flag(r, "permanent"))
}

func (s *Server) deleteVersion(r *http.Request) (any, error) {
	subject, err := subjectOf(r)
	if err != nil {
		return nil, err
	}
	return s.registry.DeleteVersion(r.Context(), subject, r.PathValue("version"), flag(r, "permanent"))
}
