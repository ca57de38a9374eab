package schemaregistry

import (
	"fmt"
	"net/http"
)

// apiError is an answer other than success, with Confluent's error code.
type apiError struct {
	status  int
	Code    int    `json:"error_code"`
	Message string `json:"message"`
}

func (e *apiError) Error() string { return fmt.Sprintf("%s (error code %d)", e.Message, e.Code) }

func fail(status, code int, format string, args ...any) *apiError {
	return &apiError{status, code, fmt.Sprintf(format, args...)}
}

func errSubjectNotFound(subject string) *apiError {
	return fail(http.StatusNotFound, 40401, "Subject '%s' not found.", subject)
}

func errVersionNotFound(version int) *apiError {
	return fail(http.StatusNotFound, 40402, "Version %d not found.", version)
}

func errSchemaNotFound() *apiError { return fail(http.StatusNotFound, 40403, "Schema not found") }

func errIDNotFound(id int) *apiError {
	return fail(http.StatusNotFound, 40403, "Schema %d not found", id)
}

func errSubjectSoftDeleted(subject string) *apiError {
	return fail(http.StatusNotFound, 40404, "Subject '%s' was soft deleted.Set permanent=true to delete permanently", subject)
}

func errSubjectNotSoftDeleted(subject string) *apiError {
	return fail(http.StatusNotFound, 40405, "Subject '%s' was not deleted first before being permanently deleted", subject)
}

func errVersionSoftDeleted(subject, version string) *apiError {
	return fail(http.StatusNotFound, 40406, "Subject '%s' Version %s was soft deleted.Set permanent=true to delete permanently", subject, version)
}

func errVersionNotSoftDeleted(subject, version string) *apiError {
	return fail(http.StatusNotFound, 40407, "Subject '%s' Version %s was not deleted first before being permanently deleted", subject, version)
}

func errNoSubjectLevel(subject string) *apiError {
	return fail(http.StatusNotFound, 40408, "Subject '%s' does not have subject-level compatibility configured", subject)
}

func errNoSubjectMode(subject string) *apiError {
	return fail(http.StatusNotFound, 40409, "Subject '%s' does not have subject-level mode configured", subject)
}

func errIncompatible(subject string, messages string) *apiError {
	return fail(http.StatusConflict, 409, "Schema being registered is incompatible with an earlier schema for subject \"%s\", details: %s", subject, messages)
}

func errInvalidSchema(format string, args ...any) *apiError {
	return fail(http.StatusUnprocessableEntity, 42201, format, args...)
}

func errInvalidVersion(version string) *apiError {
	return fail(http.StatusUnprocessableEntity, 42202,
		"The specified version '%s' is not a valid version id. Allowed values are between [1, 2^31-1] and the string \"latest\"", version)
}

func errInvalidLevel() *apiError {
	return fail(http.StatusUnprocessableEntity, 42203,
		"Invalid compatibility level. Valid values are none, backward, forward, full, backward_transitive, forward_transitive, and full_transitive")
}

func errInvalidMode() *apiError {
	return fail(http.StatusUnprocessableEntity, 42204, "Invalid mode. Valid values are READWRITE, READONLY, READONLY_OVERRIDE, and IMPORT.")
}

func errNotPermitted(format string, args ...any) *apiError {
	return fail(http.StatusUnprocessableEntity, 42205, format, args...)
}

func errReferenceExists(subject string, version int) *apiError {
	return fail(http.StatusUnprocessableEntity, 42206,
		"One or more references exist to the schema {magic=1,keytype=SCHEMA,subject=%s,version=%d}.", subject, version)
}

func errInvalidSubject(subject string) *apiError {
	return fail(http.StatusUnprocessableEntity, 42208, "The specified subject '%s' is not a valid.", subject)
}

func errTooLarge(what string) *apiError {
	return fail(http.StatusUnprocessableEntity, 42209, "%s because schema is too large", what)
}

func errStore(format string, args ...any) *apiError {
	return fail(http.StatusInternalServerError, 50001, format, args...)
}
