package contract

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/streamforge/streamforge/services/internal/contract/rule"
)

// numbers of a version, which the form has checked.
func numbers(version string) (major, minor, patch int) {
	parts := strings.SplitN(version, ".", 3)
	for i, n := range []*int{&major, &minor, &patch} {
		if i < len(parts) {
			*n, _ = strconv.Atoi(parts[i])
		}
	}
	return major, minor, patch
}

// CheckVersion compares the version of a contract with that of its base: the minor grows by one with a change of the schema
// and only with one, so that it counts the schema's versions. An empty rule means that all is well.
func (c Contract) CheckVersion(base Contract, schemaChanged bool) (r rule.Rule, what, do string) {
	major, minor, patch := numbers(base.Version)
	newMajor, newMinor, newPatch := numbers(c.Version)
	switch {
	case major != newMajor:
		// The major is the topic's name; a contract that keeps its id cannot have another, and the form says so.
		return "", "", ""
	case schemaChanged && c.Version == base.Version:
		return rule.VersionNotRaised, "the schema changed and the version is still " + base.Version, fmt.Sprintf("write version: %d.%d.0", major, minor+1)
	case schemaChanged && newMinor != minor+1:
		return rule.VersionNotRaised, fmt.Sprintf("the schema changed and version %s became %s", base.Version, c.Version), fmt.Sprintf("write version: %d.%d.0", major, minor+1)
	case !schemaChanged && newMinor < minor, newMinor == minor && newPatch < patch:
		return rule.VersionNotRaised, fmt.Sprintf("version %s became the lower %s", base.Version, c.Version), "write version: " + base.Version
	case !schemaChanged && newMinor > minor:
		return rule.VersionWithoutChange, fmt.Sprintf("version %s became %s without a change of the schema", base.Version, c.Version), fmt.Sprintf("write version: %d.%d.%d", major, minor, patch+1)
	}
	return "", "", ""
}

// before is the id of the major version before this one; empty for the first.
func (c Contract) before() string {
	major, _, _ := numbers(c.Version)
	id, _, _ := strings.Cut(c.ID, ".v")
	switch major {
	case 0, 1:
		return ""
	case 2:
		return id
	}
	return id + ".v" + strconv.Itoa(major-1)
}

// CheckNewVersion looks at the version of a product that the base does not have: a new major is the next one of a product
// that exists, and begins at .0.
func (c Contract) CheckNewVersion(base []Contract) (r rule.Rule, what, do string) {
	major, minor, _ := numbers(c.Version)
	if minor != 0 {
		return rule.VersionNotRaised, fmt.Sprintf("the new product %s begins with version %s", c.ID, c.Version), fmt.Sprintf("write version: %d.0.0", major)
	}
	if major == 1 {
		return "", "", ""
	}
	before := c.before()
	if _, ok := Find(base, before); !ok {
		return rule.VersionNotRaised, fmt.Sprintf("%s is major version %d and there is no %s before it", c.ID, major, before), "number major versions without a gap"
	}
	return "", "", ""
}
