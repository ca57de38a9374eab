package contract_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/streamforge/streamforge/services/internal/contract"
)

// One rule for a team's name: what one file takes the others take, and code owners with them.
func TestATeamHasOneFormEverywhere(t *testing.T) {
	for file, path := range map[string][]string{
		"contract.schema.json": {"properties", "team", "properties", "name", "pattern"},
		"consumer.schema.json": {"properties", "owner", "pattern"},
		"producer.schema.json": {"properties", "owner", "pattern"},
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var at any
		if err := json.Unmarshal(text, &at); err != nil {
			t.Fatal(err)
		}
		for _, step := range path {
			object, _ := at.(map[string]any)
			at = object[step]
		}
		if at != contract.TeamForm {
			t.Errorf("%s takes %v, want %s", file, at, contract.TeamForm)
		}
	}
	for name, want := range map[string]bool{"data-science": true, "a1": true, "Data Science": false, "data_science": false, "-a": false, "a--b": false, "": false, "a\n": false} {
		if contract.IsTeam(name) != want {
			t.Errorf("%q: %t", name, !want)
		}
	}
}
