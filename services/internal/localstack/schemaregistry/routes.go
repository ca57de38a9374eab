package schemaregistry

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"unicode"
)

const contentType = "application/vnd.schemaregistry.v1+json"

// answer is a handler that returns what to write as JSON, or a plainText, or an error.
type answer func(*http.Request) (any, error)

// plainText is written as it is.
type plainText string

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, handle := range map[string]answer{
		"GET /{$}":                                                func(*http.Request) (any, error) { return struct{}{}, nil },
		"GET /contexts":                                           func(*http.Request) (any, error) { return []string{"."}, nil },
		"GET /subjects":                                           s.listSubjects,
		"POST /subjects/{subject}":                                s.lookupSchema,
		"DELETE /subjects/{subject}":                              s.deleteSubject,
		"GET /subjects/{subject}/versions":                        s.listVersions,
		"POST /subjects/{subject}/versions":                       s.registerSchema,
		"GET /subjects/{subject}/versions/{version}":              s.getVersion,
		"DELETE /subjects/{subject}/versions/{version}":           s.deleteVersion,
		"GET /subjects/{subject}/versions/{version}/schema":       s.getVersionText,
		"GET /subjects/{subject}/versions/{version}/referencedby": s.getReferencedBy,
		"GET /schemas":                                            s.listSchemas,
		"GET /schemas/types":                                      func(*http.Request) (any, error) { return []string{"AVRO"}, nil },
		"GET /schemas/ids/{id}":                                   s.getID,
		"GET /schemas/ids/{id}/schema":                            s.getIDText,
		"GET /schemas/ids/{id}/subjects":                          s.getIDSubjects,
		"GET /schemas/ids/{id}/versions":                          s.getIDVersions,
		"GET /config":                                             s.getLevel,
		"PUT /config":                                             s.putLevel,
		"DELETE /config":                                          s.deleteLevel,
		"GET /config/{subject}":                                   s.getLevel,
		"PUT /config/{subject}":                                   s.putLevel,
		"DELETE /config/{subject}":                                s.deleteLevel,
		"GET /mode":                                               s.getMode,
		"PUT /mode":                                               s.putMode,
		"GET /mode/{subject}":                                     s.getMode,
		"PUT /mode/{subject}":                                     s.putMode,
		"DELETE /mode/{subject}":                                  s.deleteMode,
		"POST /compatibility/subjects/{subject}/versions":         s.checkCompatibility,
		"POST /compatibility/subjects/{subject}/versions/{version}": s.checkCompatibility,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, s.config.MaxBodyBytes)
			value, err := handle(r)
			s.write(w, value, err)
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern == "" {
			s.write(w, nil, unknownPath(mux, r))
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// unknownPath tells a wrong path from a wrong method.
func unknownPath(mux *http.ServeMux, r *http.Request) error {
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := mux.Handler(other); pattern != "" {
			return fail(http.StatusMethodNotAllowed, http.StatusMethodNotAllowed, "HTTP 405 Method Not Allowed")
		}
	}
	return fail(http.StatusNotFound, http.StatusNotFound, "HTTP 404 Not Found")
}

func (s *Server) write(w http.ResponseWriter, value any, err error) {
	status := http.StatusOK
	if err != nil {
		var known *apiError
		if !errors.As(err, &known) {
			known = errStore("%v", err)
		}
		// Before the topic has been read every client is told to come back; that is no fault.
		if known.status >= http.StatusInternalServerError && s.registry.isLoaded() {
			s.log.Error("request failed", "error", known.Message, "error_code", known.Code)
		}
		status, value = known.status, known
	}
	s.metrics.requests.WithLabelValues(strconv.Itoa(status)).Inc()
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	if text, ok := value.(plainText); ok {
		_, _ = w.Write([]byte(text)) // a client that went away is its own affair
		return
	}
	_, _ = w.Write(encode(value))
}

func flag(r *http.Request, name string) bool {
	return strings.EqualFold(r.URL.Query().Get(name), "true")
}

// subjectOf returns the path's subject, or "" for the global setting.
func subjectOf(r *http.Request) (string, error) {
	subject := r.PathValue("subject")
	if strings.ContainsFunc(subject, unicode.IsControl) || subject == "__GLOBAL" || subject == "__EMPTY" {
		return "", errInvalidSubject(subject)
	}
	return subject, nil
}

func readBody(r *http.Request, into any) error {
	err := json.NewDecoder(r.Body).Decode(into)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return fail(http.StatusRequestEntityTooLarge, http.StatusRequestEntityTooLarge, "the request is larger than %d bytes", tooLarge.Limit)
	case err != nil:
		return fail(http.StatusBadRequest, http.StatusBadRequest, "Unable to process JSON: %v", err)
	}
	return nil
}

// parseVersion reads a version of a path: a positive number, "latest" or its number -1.
func parseVersion(text string) (int, error) {
	if strings.EqualFold(strings.TrimSpace(text), "latest") || text == "-1" {
		return latest, nil
	}
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 32)
	if err != nil || n < 1 {
		return 0, errInvalidVersion(text)
	}
	return int(n), nil
}

func parseID(r *http.Request) (int, error) {
	n, err := strconv.ParseInt(r.PathValue("id"), 10, 32)
	if err != nil {
		return 0, fail(http.StatusNotFound, http.StatusNotFound, "HTTP 404 Not Found")
	}
	return int(n), nil
}
