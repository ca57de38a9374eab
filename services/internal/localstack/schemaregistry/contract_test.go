package schemaregistry_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The contract runs on our registry and on Apicurio's Confluent API. Where Apicurio answers otherwise, the step holds it to
// what it does answer, so that this list of differences is neither longer nor shorter than the truth; Confluent's own registry is not to be had in this environment, so its answers are taken from its documented API
// and its sources.

// target is a registry under test.
type target struct {
	name     string
	url      string // base of the Confluent API
	apicurio bool
}

// reply is what a registry answered.
type reply struct {
	status int
	body   string
}

func (tg target) do(t *testing.T, method, path, body string) reply {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, tg.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/vnd.schemaregistry.v1+json")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{response.StatusCode, string(text)}
}

// want checks status and body; the body as JSON, and only the members that are named. A string that ends in … is a prefix.
func (tg target) want(t *testing.T, got reply, status int, body string) {
	t.Helper()
	if got.status != status {
		t.Errorf("%s: status %d, want %d; body %s", tg.name, got.status, status, got.body)
		return
	}
	if body == "" {
		return
	}
	var a, b any
	if err := json.Unmarshal([]byte(got.body), &a); err != nil {
		t.Errorf("%s: not JSON: %s", tg.name, got.body)
		return
	}
	if err := json.Unmarshal([]byte(body), &b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b, narrow(a, b)); diff != "" {
		t.Errorf("%s: answer differs (-want +got): %s\n%s", tg.name, diff, got.body)
	}
}

// narrow keeps of a only the members that b names.
func narrow(a, b any) any {
	wanted, ok := b.(map[string]any)
	if !ok {
		return a
	}
	given, ok := a.(map[string]any)
	if !ok {
		return a
	}
	out := map[string]any{}
	for name, value := range wanted {
		if v, ok := given[name]; ok {
			out[name] = narrow(v, value)
		}
	}
	return out
}

func schemaBody(schema string, references ...string) string {
	text, _ := json.Marshal(schema)
	if len(references) == 0 {
		return `{"schema":` + string(text) + `}`
	}
	return `{"schema":` + string(text) + `,"references":[` + strings.Join(references, ",") + `]}`
}

func idOf(t *testing.T, r reply) int {
	t.Helper()
	var v struct{ ID int }
	if err := json.Unmarshal([]byte(r.body), &v); err != nil || v.ID == 0 {
		t.Fatalf("no id in %d %s", r.status, r.body)
	}
	return v.ID
}

const (
	tradeV1 = `{"type":"record","name":"Trade","namespace":"t","fields":[{"name":"id","type":"string"},{"name":"price","type":"long"}]}`
	// tradeV2 adds a field with a default: compatible both ways.
	tradeV2 = `{"type":"record","name":"Trade","namespace":"t","fields":[{"name":"id","type":"string"},{"name":"price","type":"long"},{"name":"venue","type":"string","default":""}]}`
	// tradeBad adds a field without: BACKWARD breaks.
	tradeBad = `{"type":"record","name":"Trade","namespace":"t","fields":[{"name":"id","type":"string"},{"name":"price","type":"long"},{"name":"venue","type":"string"}]}`
	// tradeLess drops a field that has no default: FORWARD breaks.
	tradeLess = `{"type":"record","name":"Trade","namespace":"t","fields":[{"name":"id","type":"string"}]}`
	level     = `{"type":"record","name":"Level","namespace":"t","fields":[{"name":"price","type":"long"}]}`
	book      = `{"type":"record","name":"Book","namespace":"t","fields":[{"name":"bids","type":{"type":"array","items":"t.Level"}}]}`
)

type step struct {
	name string
	run  func(t *testing.T, tg target, subject string)
}

var contract = []step{
	{"register, read back, look up", func(t *testing.T, tg target, s string) {
		id := idOf(t, tg.do(t, "POST", "/subjects/"+s+"/versions", schemaBody(tradeV1)))
		if again := idOf(t, tg.do(t, "POST", "/subjects/"+s+"/versions", schemaBody(tradeV1))); again != id {
			t.Errorf("registered again: id %d, want %d", again, id)
		}
		tg.want(t, tg.do(t, "GET", "/subjects/"+s+"/versions", ""), 200, `[1]`)
		tg.want(t, tg.do(t, "GET", "/subjects/"+s+"/versions/1", ""), 200, fmt.Sprintf(`{"subject":%q,"version":1,"id":%d,"schema":%q}`, s, id, tradeV1))
		tg.want(t, tg.do(t, "GET", "/subjects/"+s+"/versions/latest", ""), 200, fmt.Sprintf(`{"version":1,"id":%d}`, id))
		tg.want(t, tg.do(t, "GET", fmt.Sprintf("/schemas/ids/%d", id), ""), 200, fmt.Sprintf(`{"schema":%q}`, tradeV1))
		tg.want(t, tg.do(t, "POST", "/subjects/"+s, schemaBody(tradeV1)), 200, fmt.Sprintf(`{"subject":%q,"version":1,"id":%d}`, s, id))
		tg.want(t, tg.do(t, "GET", fmt.Sprintf("/schemas/ids/%d/versions", id), ""), 200, "")
		tg.want(t, tg.do(t, "GET", "/subjects/"+s+"/versions/1/schema", ""), 200, tradeV1)
	}},
	{"unknown things", func(t *testing.T, tg target, s string) {
		tg.want(t, tg.do(t, "GET", "/subjects/"+s+"/versions", ""), 404, `{"error_code":40401}`)
		tg.want(t, tg.do(t, "GET", "/schemas/ids/2147483000", ""), 404, `{"error_code":40403}`)
		idOf(t, tg.do(t, "POST", "/subjects/"+s+"/versions", schemaBody(tradeV1)))
		tg.want(t, tg.do(t, "GET", "/subjects/"+s+"/versions/7", ""), 404, `{"error_code":40402}`)
		tg.want(t, tg.do(t, "POST", "/subjects/"+s, schemaBody(tradeV2)), 404, `{"error_code":40403}`)
		word, nowhere := tg.do(t, "GET", "/subjects/"+s+"/versions/zero", ""), tg.do(t, "GET", "/nothing/here", "")
		if tg.apicurio { // it takes the word for a version that it does not know, and has no code for a path
			tg.want(t, word, 404, `{"error_code":40402}`)
			tg.want(t, nowhere, 404, `{"error_code":0}`)
		} else {
			tg.want(t, word, 422, `{"error_code":42202}`)
			tg.want(t, nowhere, 404, `{"error_code":404}`)
		}
	}},
	{"a bad schema is refused", func(t *testing.T, tg target, s string) {
		tg.want(t, tg.do(t, "POST", "/subjects/"+s+"/versions", schemaBody(`{"type":"record"}`)), 422, `{"error_code":42201}`)
		tg.want(t, tg.do(t, "GET", "/subjects/"+s+"/versions", ""), 404, `{"error_code":40401}`)
	}},
	{"levels are enforced", func(t *testing.T, tg target, s string) {
		for _, c := range []struct {
			level, schema string
			allowed       bool
		}{
			{"BACKWARD", tradeBad, false},
			{"BACKWARD", tradeLess, true},
			{"BACKWARD_TRANSITIVE", tradeBad, false},
			{"FORWARD", tradeBad, true},
			{"FORWARD", tradeLess, false},
			{"FORWARD_TRANSITIVE", tradeLess, false},
			{"FULL", tradeBad, false},
			{"FULL", tradeLess, false},
			{"FULL", tradeV2, true},
			{"FULL_TRANSITIVE", tradeV2, true},
			{"NONE", tradeBad, true},
			{"NONE", tradeLess, true},
		} {
			subject := strings.ToLower(s + "-" + c.level + "-" + fmt.Sprint(len(c.schema)))
			level := tg.do(t, "PUT", "/config/"+subject, `{"compatibility":"`+c.level+`"}`)
			if tg.apicurio && c.level == "NONE" { // there NONE is no level but the lack of one, which a new subject has anyway
				tg.want(t, level, 404, `{"error_code":40401}`)
			} else {
				tg.want(t, level, 200, `{"compatibility":"`+c.level+`"}`)
			}
			idOf(t, tg.do(t, "POST", "/subjects/"+subject+"/versions", schemaBody(tradeV1)))
			verdict := tg.do(t, "POST", "/compatibility/subjects/"+subject+"/versions/latest", schemaBody(c.schema))
			tg.want(t, verdict, 200, fmt.Sprintf(`{"is_compatible":%v}`, c.allowed))
			got := tg.do(t, "POST", "/subjects/"+subject+"/versions", schemaBody(c.schema))
			if c.allowed {
				idOf(t, got)
			} else {
				tg.want(t, got, 409, `{"error_code":409}`)
			}
		}
	}},
	{"levels of a subject", func(t *testing.T, tg target, s string) {
		idOf(t, tg.do(t, "POST", "/subjects/"+s+"/versions", schemaBody(tradeV1)))
		own, global := tg.do(t, "GET", "/config/"+s, ""), tg.do(t, "GET", "/config/"+s+"?defaultToGlobal=true", "")
		if tg.apicurio { // its global level is NONE, and it is told without being asked for
			tg.want(t, own, 200, `{"compatibilityLevel":"NONE"}`)
			tg.want(t, global, 200, `{"compatibilityLevel":"NONE"}`)
		} else {
			tg.want(t, own, 404, `{"error_code":40408}`)
			tg.want(t, global, 200, `{"compatibilityLevel":"BACKWARD"}`)
		}
		tg.want(t, tg.do(t, "PUT", "/config/"+s, `{"compatibility":"FULL"}`), 200, `{"compatibility":"FULL"}`)
		tg.want(t, tg.do(t, "GET", "/config/"+s, ""), 200, `{"compatibilityLevel":"FULL"}`)
		unknown := tg.do(t, "PUT", "/config/"+s, `{"compatibility":"SOME"}`)
		if tg.apicurio { // it answers in plain text
			tg.want(t, unknown, 400, "")
		} else {
			tg.want(t, unknown, 422, `{"error_code":42203}`)
		}
		tg.want(t, tg.do(t, "DELETE", "/config/"+s, ""), 200, "")
	}},
	{"verbose messages", func(t *testing.T, tg target, s string) {
		idOf(t, tg.do(t, "POST", "/subjects/"+s+"/versions", schemaBody(tradeV1)))
		tg.do(t, "PUT", "/config/"+s, `{"compatibility":"BACKWARD"}`)
		got := tg.do(t, "POST", "/compatibility/subjects/"+s+"/versions/latest?verbose=true", schemaBody(tradeBad))
		tg.want(t, got, 200, `{"is_compatible":false}`)
		if tg.apicurio { // one reason instead of the list of messages, in words of its own
			tg.want(t, tg.do(t, "POST", "/compatibility/subjects/"+s+"/versions?verbose=true", schemaBody(tradeV2)), 200, `{"is_compatible":true,"reason":null}`)
			return
		}
		tg.want(t, got, 200, fmt.Sprintf(`{"messages":[
			"{errorType:'READER_FIELD_MISSING_DEFAULT_VALUE', description:'The field 'venue' at path '/fields/2' in the new schema has no default value and is missing in the old schema', additionalInfo:'venue'}",
			"{oldSchemaVersion: 1}", %q, "{validateFields: 'false', compatibility: 'BACKWARD'}"]}`, "{oldSchema: '"+tradeV1+"'}"))
		tg.want(t, tg.do(t, "POST", "/compatibility/subjects/"+s+"/versions?verbose=true", schemaBody(tradeV2)), 200, `{"is_compatible":true,"messages":[]}`)
	}},
	{"references", func(t *testing.T, tg target, s string) {
		shared := s + "-level"
		levelID := idOf(t, tg.do(t, "POST", "/subjects/"+shared+"/versions", schemaBody(level)))
		reference := fmt.Sprintf(`{"name":"t.Level","subject":%q,"version":1}`, shared)
		tg.want(t, tg.do(t, "POST", "/subjects/"+s+"/versions", schemaBody(book)), 422, `{"error_code":42201}`)
		id := idOf(t, tg.do(t, "POST", "/subjects/"+s+"/versions", schemaBody(book, reference)))
		if id == levelID {
			t.Errorf("book and level share the id %d", id)
		}
		tg.want(t, tg.do(t, "GET", "/subjects/"+s+"/versions/1", ""), 200, `{"references":[`+reference+`]}`)
		tg.want(t, tg.do(t, "POST", "/subjects/"+s, schemaBody(book, reference)), 200, fmt.Sprintf(`{"id":%d}`, id))
		tg.want(t, tg.do(t, "GET", "/subjects/"+shared+"/versions/1/referencedby", ""), 200, fmt.Sprintf("[%d]", id))
		tg.want(t, tg.do(t, "DELETE", "/subjects/"+shared, ""), 422, `{"error_code":42206}`)
		tg.want(t, tg.do(t, "DELETE", "/subjects/"+shared+"/versions/1", ""), 422, `{"error_code":42206}`)
		missing := `{"name":"t.Level","subject":"nowhere","version":1}`
		tg.want(t, tg.do(t, "POST", "/subjects/"+s+"-2/versions", schemaBody(book, missing)), 422, `{"error_code":42201}`)
	}},
	{"white space is not a new version under normalize", func(t *testing.T, tg target, s string) {
		idOf(t, tg.do(t, "POST", "/subjects/"+s+"/versions?normalize=true", schemaBody(tradeV1)))
		idOf(t, tg.do(t, "POST", "/subjects/"+s+"/versions?normalize=true", schemaBody(strings.ReplaceAll(tradeV1, ",", " , \n"))))
		tg.want(t, tg.do(t, "GET", "/subjects/"+s+"/versions", ""), 200, `[1]`)
	}},
	{"soft and permanent delete", func(t *testing.T, tg target, s string) {
		// What must be deleted softly first, or is already, is a conflict for Apicurio and not found for Confluent.
		twice, purged := 404, `[2,3]`
		if tg.apicurio {
			twice, purged = 409, `[1,2,3]` // and it counts the version whose content has come back
		}
		// A schema of its own: an id lives as long as any subject holds it.
		tradeV1, tradeV2 := strings.ReplaceAll(tradeV1, "Trade", "Gone"), strings.ReplaceAll(tradeV2, "Trade", "Gone")
		id := idOf(t, tg.do(t, "POST", "/subjects/"+s+"/versions", schemaBody(tradeV1)))
		idOf(t, tg.do(t, "POST", "/subjects/"+s+"/versions", schemaBody(tradeV2)))
		tg.want(t, tg.do(t, "DELETE", "/subjects/"+s+"/versions/1?permanent=true", ""), twice, `{"error_code":40407}`)
		tg.want(t, tg.do(t, "DELETE", "/subjects/"+s+"/versions/1", ""), 200, `1`)
		tg.want(t, tg.do(t, "DELETE", "/subjects/"+s+"/versions/1", ""), twice, `{"error_code":40406}`)
		tg.want(t, tg.do(t, "GET", "/subjects/"+s+"/versions", ""), 200, `[2]`)
		tg.want(t, tg.do(t, "GET", "/subjects/"+s+"/versions?deleted=true", ""), 200, `[1,2]`)
		tg.want(t, tg.do(t, "GET", fmt.Sprintf("/schemas/ids/%d", id), ""), 200, fmt.Sprintf(`{"schema":%q}`, tradeV1))
		tg.want(t, tg.do(t, "DELETE", "/subjects/"+s+"?permanent=true", ""), twice, `{"error_code":40405}`)
		tg.want(t, tg.do(t, "DELETE", "/subjects/"+s, ""), 200, `[2]`)
		tg.want(t, tg.do(t, "DELETE", "/subjects/"+s, ""), 404, `{"error_code":40404}`)
		tg.want(t, tg.do(t, "GET", "/subjects/"+s+"/versions", ""), 404, `{"error_code":40401}`)
		// A content that returns keeps its id and gets the next version.
		if again := idOf(t, tg.do(t, "POST", "/subjects/"+s+"/versions", schemaBody(tradeV1))); again != id {
			t.Errorf("id %d, want %d", again, id)
		}
		tg.want(t, tg.do(t, "GET", "/subjects/"+s+"/versions", ""), 200, `[3]`)
		tg.want(t, tg.do(t, "DELETE", "/subjects/"+s, ""), 200, `[3]`)
		tg.want(t, tg.do(t, "DELETE", "/subjects/"+s+"?permanent=true", ""), 200, purged)
		tg.want(t, tg.do(t, "GET", fmt.Sprintf("/schemas/ids/%d", id), ""), 404, `{"error_code":40403}`)
		tg.want(t, tg.do(t, "DELETE", "/subjects/"+s, ""), 404, `{"error_code":40401}`)
	}},
	{"modes", func(t *testing.T, tg target, s string) {
		if tg.apicurio { // it has no modes
			tg.want(t, tg.do(t, "GET", "/mode", ""), 404, "")
			return
		}
		tg.want(t, tg.do(t, "GET", "/mode", ""), 200, `{"mode":"READWRITE"}`)
		tg.want(t, tg.do(t, "GET", "/mode/"+s, ""), 404, `{"error_code":40409}`)
		tg.want(t, tg.do(t, "PUT", "/mode/"+s, `{"mode":"SLEEPY"}`), 422, `{"error_code":42204}`)
		tg.want(t, tg.do(t, "PUT", "/mode/"+s, `{"mode":"READONLY"}`), 200, `{"mode":"READONLY"}`)
		tg.want(t, tg.do(t, "POST", "/subjects/"+s+"/versions", schemaBody(tradeV1)), 422, `{"error_code":42205}`)
		tg.want(t, tg.do(t, "PUT", "/mode/"+s, `{"mode":"IMPORT"}`), 200, "")
		body := strings.Replace(schemaBody(tradeV1), "{", `{"id":4711,"version":3,`, 1)
		tg.want(t, tg.do(t, "POST", "/subjects/"+s+"/versions", body), 200, `{"id":4711}`)
		tg.want(t, tg.do(t, "GET", "/subjects/"+s+"/versions", ""), 200, `[3]`)
		tg.want(t, tg.do(t, "DELETE", "/mode/"+s, ""), 200, `{"mode":"IMPORT"}`)
		tg.want(t, tg.do(t, "GET", "/mode/"+s+"?defaultToGlobal=true", ""), 200, `{"mode":"READWRITE"}`)
	}},
	{"a subject with a slash", func(t *testing.T, tg target, s string) {
		idOf(t, tg.do(t, "POST", "/subjects/"+s+"%2Fx%20y/versions", schemaBody(tradeV1)))
		tg.want(t, tg.do(t, "GET", "/subjects/"+s+"%2Fx%20y/versions/1", ""), 200, fmt.Sprintf(`{"subject":%q}`, s+"/x y"))
	}},
	{"what is registered is found in read-only mode", func(t *testing.T, tg target, s string) {
		if tg.apicurio { // it has no modes
			tg.want(t, tg.do(t, "GET", "/mode", ""), 404, "")
			return
		}
		id := idOf(t, tg.do(t, "POST", "/subjects/"+s+"/versions", schemaBody(tradeV1)))
		tg.want(t, tg.do(t, "PUT", "/mode/"+s, `{"mode":"readonly"}`), 200, "")
		tg.want(t, tg.do(t, "POST", "/subjects/"+s+"/versions", schemaBody(tradeV1)), 200, fmt.Sprintf(`{"id":%d}`, id))
		tg.want(t, tg.do(t, "POST", "/subjects/"+s+"/versions", schemaBody(tradeV2)), 422, `{"error_code":42205}`)
		tg.want(t, tg.do(t, "DELETE", "/subjects/"+s, ""), 422, `{"error_code":42205}`)
		tg.want(t, tg.do(t, "DELETE", "/mode/"+s, ""), 200, "")
	}},
	{"types and subjects", func(t *testing.T, tg target, s string) {
		idOf(t, tg.do(t, "POST", "/subjects/"+s+"/versions", schemaBody(tradeV1)))
		if got := tg.do(t, "GET", "/subjects", ""); !strings.Contains(got.body, `"`+s+`"`) {
			t.Errorf("%s is not in %s", s, got.body)
		}
		if got := tg.do(t, "GET", "/schemas/types", ""); !strings.Contains(got.body, `"AVRO"`) {
			t.Errorf("AVRO is not in %s", got.body)
		}
	}},
}

func runContract(t *testing.T, tg target) {
	for i, s := range contract {
		t.Run(s.name, func(t *testing.T) { s.run(t, tg, fmt.Sprintf("contract-%d-value", i)) })
	}
}
