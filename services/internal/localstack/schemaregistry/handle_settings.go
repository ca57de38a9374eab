package schemaregistry

import (
	"net/http"
	"strings"

	"github.com/streamforge/streamforge/services/internal/avro"
)

func (s *Server) getLevel(r *http.Request) (any, error) {
	subject, err := subjectOf(r)
	if err != nil {
		return nil, err
	}
	var level string
	return &configAnswer{&level}, s.registry.read(func(st *state) error {
		switch {
		case subject == "":
			level = st.globalLevel()
		case flag(r, "defaultToGlobal"):
			level = st.levelFor(subject)
		default:
			level = st.levels[subject]
		}
		if level == "" {
			return errNoSubjectLevel(subject)
		}
		return nil
	})
}

// configAnswer shows a level.
type configAnswer struct {
	CompatibilityLevel *string `json:"compatibilityLevel"`
}

func (s *Server) putLevel(r *http.Request) (any, error) {
	subject, err := subjectOf(r)
	if err != nil {
		return nil, err
	}
	var body struct {
		Compatibility string `json:"compatibility"`
	}
	if err := readBody(r, &body); err != nil {
		return nil, err
	}
	level, err := avro.ParseLevel(body.Compatibility)
	if err != nil {
		return nil, errInvalidLevel()
	}
	if err := s.registry.SetLevel(r.Context(), subject, level); err != nil {
		return nil, err
	}
	return map[string]string{"compatibility": body.Compatibility}, nil
}

func (s *Server) deleteLevel(r *http.Request) (any, error) {
	subject, err := subjectOf(r)
	if err != nil {
		return nil, err
	}
	level, err := s.registry.ClearLevel(r.Context(), subject)
	if err != nil {
		return nil, err
	}
	return configAnswer{&level}, nil
}

func (s *Server) getMode(r *http.Request) (any, error) {
	subject, err := subjectOf(r)
	if err != nil {
		return nil, err
	}
	answer := &modeValue{}
	return answer, s.registry.read(func(st *state) error {
		switch {
		case subject == "":
			answer.Mode = st.globalMode()
		case flag(r, "defaultToGlobal") || st.globalMode() == "READONLY_OVERRIDE":
			answer.Mode = st.modeFor(subject)
		default:
			answer.Mode = st.modes[subject]
		}
		if answer.Mode == "" {
			return errNoSubjectMode(subject)
		}
		return nil
	})
}

func (s *Server) putMode(r *http.Request) (any, error) {
	subject, err := subjectOf(r)
	if err != nil {
		return nil, err
	}
	var body modeValue
	if err := readBody(r, &body); err != nil {
		return nil, err
	}
	mode := strings.ToUpper(body.Mode)
	switch mode {
	case "READWRITE", "READONLY", "READONLY_OVERRIDE", "IMPORT":
	default:
		return nil, errInvalidMode()
	}
	if err := s.registry.SetMode(r.Context(), subject, mode, flag(r, "force")); err != nil {
		return nil, err
	}
	return body, nil
}

func (s *Server) deleteMode(r *http.Request) (any, error) {
	subject, err := subjectOf(r)
	if err != nil {
		return nil, err
	}
	mode, err := s.registry.ClearMode(r.Context(), subject)
	if err != nil {
		return nil, err
	}
	return modeValue{mode}, nil
}

// compatibilityAnswer is the verdict; messages only when the client asked for them.
type compatibilityAnswer struct {
	IsCompatible bool      `json:"is_compatible"`
	Messages     *[]string `json:"messages,omitempty"`
}

func (s *Server) checkCompatibility(r *http.Request) (any, error) {
	subject, err := subjectOf(r)
	if err != nil {
		return nil, err
	}
	var q request
	if err := readBody(r, &q); err != nil {
		return nil, err
	}
	messages := []string{}
	err = s.registry.read(func(st *state) error {
		against, err := st.against(subject, r.PathValue("version"))
		if err != nil {
			return err
		}
		_, candidate, err := st.parse(&q, true, flag(r, "normalize"))
		if err != nil {
			return err
		}
		found, err := st.incompatibilities(subject, candidate, against)
		messages = append(messages, found...)
		return err
	})
	if err != nil {
		return nil, err
	}
	answer := compatibilityAnswer{IsCompatible: len(messages) == 0}
	if flag(r, "verbose") {
		answer.Messages = &messages
	}
	return answer, nil
}

// against lists the versions that a candidate is compared with: all, or the one of the path. A subject without versions
// accepts anything.
func (s *state) against(subject, version string) ([]*schemaValue, error) {
	if version == "" {
		return s.versions(subject, live), nil
	}
	number, err := parseVersion(version)
	if err != nil {
		return nil, err
	}
	v := s.version(subject, number, live)
	switch {
	case v != nil:
		return []*schemaValue{v}, nil
	case number == latest:
		return nil, nil
	default:
		return nil, errVersionNotFound(number)
	}
}
