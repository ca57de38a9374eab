package contract

import "regexp"

// TeamForm is what a team's name looks like, wherever one stands: in a contract, in the declaration of a consumer or of a
// producer. It is a form that code owners on GitHub can have too, whose teams have the same names.
const TeamForm = "^[a-z0-9]+(-[a-z0-9]+)*$"

// IsTeam tells whether a name has that form.
func IsTeam(name string) bool {
	matched, err := regexp.MatchString(TeamForm, name)
	return err == nil && matched
}
