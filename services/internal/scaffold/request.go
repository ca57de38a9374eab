package scaffold

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/streamforge/streamforge/services/internal/contract"
)

// Kind is the language of a new consumer.
type Kind string

// The kinds.
const (
	Go     Kind = "go"
	Python Kind = "python"
)

// Request is what is asked for.
type Request struct {
	// Name of the program: its folder below services/ and its consumer group.
	Name string
	// Topics to read, by topic or product.
	Topics []string
	Kind   Kind
	// Owner is the team to ask about the consumer.
	Owner string
}

// maxNameLength bounds a name, in characters: it becomes part of topics' headers, metrics and host names.
const maxNameLength = 40

var namePattern = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

// reserved are names that no program can have below services/: the shared rooms, and what the go tool passes over.
var reserved = []string{"internal", "testdata", "vendor"}

// check says all that is wrong with the request by itself and against what there is, each with the remedy.
func (r Request) check(c *Catalog) error {
	var errs []error
	fail := func(format string, arguments ...any) { errs = append(errs, fmt.Errorf(format, arguments...)) }
	switch {
	case r.Name == "":
		fail("the consumer has no name: say NAME=momentum")
	case !namePattern.MatchString(r.Name):
		fail("name %q: a name is lower-case words of letters and digits, joined by hyphens, beginning with a letter: try NAME=%s", r.Name, suggestName(r.Name))
	case len(r.Name) > maxNameLength:
		fail("name %q has %d characters: at most %d are allowed", r.Name, len(r.Name), maxNameLength)
	default:
		if taken := c.taken(r.Name); taken != "" {
			fail("name %s: %s; choose another NAME, or work on that one", r.Name, taken)
		}
	}
	if r.Kind != Go && r.Kind != Python {
		fail("kind %q: say KIND=go or KIND=python", r.Kind)
	}
	if strings.TrimSpace(r.Owner) == "" {
		fail("nobody owns it: say OWNER=<team>, or once for all `git config streamforge.owner <team>`")
	} else if !contract.IsTeam(r.Owner) {
		fail("owner %q: a team's name is lower-case words of letters and digits, joined by hyphens, as code owners have it: try OWNER=%s", r.Owner, Team(r.Owner))
	}
	errs = append(errs, r.checkTopics(c)...)
	return errors.Join(errs...)
}

func (r Request) checkTopics(c *Catalog) []error {
	if len(r.Topics) == 0 {
		return []error{fmt.Errorf("it reads nothing: say TOPICS=raw-trades, or several as TOPICS=raw-trades,feed-gaps; there are %s", strings.Join(c.topics(), ", "))}
	}
	var errs []error
	for i, topic := range r.Topics {
		if slices.Contains(r.Topics[:i], topic) {
			errs = append(errs, fmt.Errorf("topic %s stands twice: name each once", topic))
			continue
		}
		if _, err := c.product(topic); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// SplitTopics reads a list as a person writes it: with commas, spaces or both.
func SplitTopics(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' })
}

// suggestName makes a name of the rule out of what was written.
func suggestName(name string) string {
	suggestion := strings.TrimLeft(slug(name), "-0123456789")
	if len(suggestion) > maxNameLength {
		suggestion = strings.TrimRight(suggestion[:maxNameLength], "-")
	}
	if !namePattern.MatchString(suggestion) {
		return "momentum"
	}
	return suggestion
}

// Team makes a team's name out of what somebody is called; "my-team" where nothing of it can stand in one.
func Team(name string) string {
	if s := slug(name); contract.IsTeam(s) {
		return s
	}
	return "my-team"
}

// slug joins the words of a name by hyphens, in lower case; what is no letter or digit of ASCII parts words.
func slug(name string) string {
	var out strings.Builder
	for i, r := range name {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			out.WriteRune(r)
		case r >= 'A' && r <= 'Z':
			if i > 0 && name[i-1] >= 'a' && name[i-1] <= 'z' {
				out.WriteByte('-')
			}
			out.WriteRune(r - 'A' + 'a')
		default:
			out.WriteByte('-')
		}
	}
	return strings.Join(strings.FieldsFunc(out.String(), func(r rune) bool { return r == '-' }), "-")
}
