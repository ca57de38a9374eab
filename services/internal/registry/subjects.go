package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/avro"
)

// Subjects lists the subjects that have a live version, in alphabetical order.
func (c *Client) Subjects(ctx context.Context) ([]string, error) {
	all, err := c.library(ctx).GetSubjects()
	if err != nil {
		return nil, c.classify("listing subjects", err)
	}
	slices.Sort(all)
	return all, nil
}

// VersionNumbers returns the numbers of the versions that are not deleted, in order; none when the subject is unknown.
func (c *Client) VersionNumbers(ctx context.Context, subject string) ([]int, error) {
	numbers, err := c.library(ctx).GetSchemaVersions(subject)
	if err != nil {
		if err = c.classify("listing versions of "+subject, err); errors.Is(err, ErrNotFound) {
			return nil, nil
		}
		return nil, err
	}
	slices.Sort(numbers)
	return numbers, nil
}

// ModeReadWrite is the mode in which a subject takes new versions.
const ModeReadWrite = "READWRITE"

// Mode returns the mode in force for the subject. A registry that knows no modes (Apicurio), or does not tell this user, is
// taken to be in READWRITE: it will say itself what it does not let happen.
func (c *Client) Mode(ctx context.Context, subject string) (string, error) {
	var answer struct {
		Mode string `json:"mode"`
	}
	err := c.call(ctx, http.MethodGet, "/mode/"+escape(subject)+"?defaultToGlobal=true", nil, &answer)
	var said *ResponseError
	var foreign *foreignAnswer
	switch {
	case errors.As(err, &said), errors.As(err, &foreign), err == nil && answer.Mode == "":
		return ModeReadWrite, nil
	case err != nil:
		return "", c.classify("reading the mode of "+subject, err)
	}
	return answer.Mode, nil
}

// LiveVersions returns every version of the subject that is not deleted, oldest first; none when the subject is unknown.
func (c *Client) LiveVersions(ctx context.Context, subject string) ([]Schema, error) {
	numbers, err := c.VersionNumbers(ctx, subject)
	if err != nil {
		return nil, err
	}
	var all []Schema
	for _, n := range numbers {
		s, err := c.Version(ctx, subject, n)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// Version returns one version of a subject.
func (c *Client) Version(ctx context.Context, subject string, version int) (Schema, error) {
	got, err := c.library(ctx).GetSchemaByVersion(subject, version)
	if err != nil {
		return Schema{}, c.classify(fmt.Sprintf("fetching %s version %d", subject, version), err)
	}
	s := fromLibrary(got)
	s.Subject, s.Version = subject, version
	return c.complete(ctx, s)
}

// Compatibility returns the subject's own level, and false when it has none and the global one applies.
func (c *Client) Compatibility(ctx context.Context, subject string) (avro.Level, bool, error) {
	level, err := c.library(ctx).GetCompatibilityLevel(subject, false)
	if err != nil {
		if err = c.classify("reading the compatibility level of "+subject, err); errors.Is(err, ErrNotFound) {
			return "", false, nil
		}
		return "", false, err
	}
	return avro.Level(*level), true, nil
}

// GlobalCompatibility returns the level that applies where a subject has none.
func (c *Client) GlobalCompatibility(ctx context.Context) (avro.Level, error) {
	level, err := c.library(ctx).GetGlobalCompatibilityLevel()
	if err != nil {
		return "", c.classify("reading the global compatibility level", err)
	}
	return avro.Level(*level), nil
}

// SetCompatibility sets the subject's level.
func (c *Client) SetCompatibility(ctx context.Context, subject string, level avro.Level) error {
	body := map[string]string{"compatibility": string(level)}
	err := c.call(ctx, http.MethodPut, "/config/"+escape(subject), body, nil)
	return c.classify(fmt.Sprintf("setting the compatibility level of %s to %s", subject, level), err)
}

// SetGlobalCompatibility sets the level that applies where a subject has none.
func (c *Client) SetGlobalCompatibility(ctx context.Context, level avro.Level) error {
	err := c.call(ctx, http.MethodPut, "/config", map[string]string{"compatibility": string(level)}, nil)
	return c.classify("setting the global compatibility level to "+string(level), err)
}

// ClearCompatibility takes the subject's own level away; it is no error when it has none.
func (c *Client) ClearCompatibility(ctx context.Context, subject string) error {
	err := c.classify("clearing the compatibility level of "+subject, c.call(ctx, http.MethodDelete, "/config/"+escape(subject), nil, nil))
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// CheckCompatibility asks the registry whether it would accept the schema, at the level in force. The messages are the
// registry's own and are empty when it would, or when the subject has no version yet.
func (c *Client) CheckCompatibility(ctx context.Context, s schemas.Subject) (bool, []string, error) {
	body, err := c.body(ctx, s)
	if err != nil {
		return false, nil, err
	}
	var answer struct {
		Compatible bool     `json:"is_compatible"`
		Messages   []string `json:"messages"`
		Reason     string   `json:"reason"` // Apicurio's single text
	}
	err = c.call(ctx, http.MethodPost, "/compatibility/subjects/"+escape(s.Name)+"/versions?verbose=true&normalize=true", body, &answer)
	if err = c.classify("checking the compatibility of "+s.Name, err); err != nil {
		if errors.Is(err, ErrNotFound) {
			return true, nil, nil
		}
		return false, nil, err
	}
	if answer.Reason != "" {
		answer.Messages = append(answer.Messages, answer.Reason)
	}
	return answer.Compatible, answer.Messages, nil
}

// DeleteSubject marks every version of the subject as deleted, and with permanent removes them. It serves tests and the
// command line's clean-up.
func (c *Client) DeleteSubject(ctx context.Context, subject string, permanent bool) error {
	return c.classify("deleting subject "+subject, c.library(ctx).DeleteSubject(subject, permanent))
}

// body is the request that names a schema together with the versions of the subjects it refers to. A reference is looked
// up as this build has it, so that the request says exactly what this build means.
func (c *Client) body(ctx context.Context, s schemas.Subject) (schemaRequest, error) {
	request := schemaRequest{Schema: s.Text}
	for _, r := range s.References {
		built, err := schemas.Get(r.Subject)
		if err != nil {
			return request, err
		}
		found, err := c.Lookup(ctx, built)
		if err != nil {
			return request, fmt.Errorf("schema of %s refers to %s: %w", s.Name, r.Name, err)
		}
		request.References = append(request.References, Reference{Name: r.Name, Subject: r.Subject, Version: found.Version})
	}
	return request, nil
}

type schemaRequest struct {
	Schema     string      `json:"schema"`
	References []Reference `json:"references,omitempty"`
}

type versionAnswer struct {
	Subject    string      `json:"subject"`
	Version    int         `json:"version"`
	ID         int         `json:"id"`
	Schema     string      `json:"schema"`
	References []Reference `json:"references"`
}

func (a versionAnswer) schema() Schema {
	return Schema{ID: a.ID, Subject: a.Subject, Version: a.Version, Raw: a.Schema, References: a.References}
}

// VersionOf returns the version that the subject has, or had before it was (softly) deleted, of a schema's id; 0 where it never
// had one.
func (c *Client) VersionOf(ctx context.Context, id int, subject string) (int, error) {
	var all []struct {
		Subject string `json:"subject"`
		Version int    `json:"version"`
	}
	err := c.call(ctx, http.MethodGet, "/schemas/ids/"+strconv.Itoa(id)+"/versions?deleted=true", nil, &all)
	if err = c.classify(fmt.Sprintf("asking for the versions of schema id %d", id), err); err != nil {
		if errors.Is(err, ErrNotFound) {
			return 0, nil
		}
		return 0, err
	}
	version := 0
	for _, v := range all {
		if v.Subject == subject {
			version = max(version, v.Version)
		}
	}
	return version, nil
}

// ReferencedBy lists the ids of the schemas that refer to a version of the subject.
func (c *Client) ReferencedBy(ctx context.Context, subject string, version int) ([]int, error) {
	var ids []int
	err := c.call(ctx, http.MethodGet, "/subjects/"+escape(subject)+"/versions/"+strconv.Itoa(version)+"/referencedby", nil, &ids)
	return ids, c.classify(fmt.Sprintf("listing what refers to %s version %d", subject, version), err)
}
