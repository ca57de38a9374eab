package check_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"github.com/streamforge/streamforge/schemas"
	"github.com/streamforge/streamforge/services/internal/avro"
	"github.com/streamforge/streamforge/services/internal/avro/avrotest"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/contract/rule"
	"github.com/streamforge/streamforge/services/internal/governance/check"
	"github.com/streamforge/streamforge/services/internal/governance/check/registrybase"
	"github.com/streamforge/streamforge/services/internal/governance/history"
	"github.com/streamforge/streamforge/services/internal/governance/history/historytest"
	"github.com/streamforge/streamforge/services/internal/localstack/apache/apachetest"
	"github.com/streamforge/streamforge/services/internal/localstack/broker/brokertest"
	"github.com/streamforge/streamforge/services/internal/localstack/schemaregistry"
	"github.com/streamforge/streamforge/services/internal/registry"
)

// embedded runs the local stack's registry until the test ends.
func embedded(t *testing.T) string {
	t.Helper()
	s, err := schemaregistry.New(schemaregistry.Config{BootstrapServers: brokertest.Start(t)}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	ctx := t.Context() // ends before the clean-ups run
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for deadline := time.Now().Add(2 * time.Minute); s.Ready() != nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(s.Ready())
		}
	}
	return s.URL()
}

// wire speaks a registry's API, with a reference looked up as it is now.
type wire struct {
	t       *testing.T
	url     string
	current map[string]int // version of each subject that was registered last
	// lost are the subjects about which a registry broke down; nil to accept no such answer.
	lost  map[string]bool
	broke bool // the call before broke down
}

type wireReference struct {
	Name    string `json:"name"`
	Subject string `json:"subject"`
	Version int    `json:"version"`
}

// refused is a registry's answer that it does not take a schema.
type refused struct{ message string }

func (w *wire) call(method, path string, body, into any) *refused {
	w.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		w.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, bytes.NewReader(text))
	if err != nil {
		w.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/vnd.schemaregistry.v1+json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	if response.StatusCode == http.StatusUnprocessableEntity {
		return &refused{string(answer)}
	}
	if response.StatusCode == http.StatusInternalServerError && w.lost != nil {
		w.broke = true
		return &refused{string(answer)}
	}
	if response.StatusCode != http.StatusOK {
		w.t.Fatalf("%s %s: %d %s\n%s", method, path, response.StatusCode, answer, text)
	}
	if into != nil {
		if err := json.Unmarshal(answer, into); err != nil {
			w.t.Fatalf("%s %s: %v in %s", method, path, err, answer)
		}
	}
	return nil
}

func (w *wire) body(s schemas.Subject) map[string]any {
	references := []wireReference{}
	for _, r := range s.References {
		if n := w.current[r.Subject]; n > 0 {
			references = append(references, wireReference{r.Name, r.Subject, n})
		}
	}
	return map[string]any{"schema": s.Text, "references": references}
}

// register registers a schema and remembers which version it is.
func (w *wire) register(s schemas.Subject) *refused {
	w.t.Helper()
	path := "/subjects/" + url.PathEscape(s.Name)
	w.broke = false
	if no := w.call(http.MethodPost, path+"/versions?normalize=true", w.body(s), nil); no != nil {
		delete(w.current, s.Name)
		if w.broke {
			w.lost[s.Name] = true
		}
		return no
	}
	var found struct {
		Version int `json:"version"`
	}
	w.call(http.MethodPost, path+"?normalize=true", w.body(s), &found)
	w.current[s.Name] = found.Version
	return nil
}

// versions of a subject.
func (w *wire) versions(subject string) (numbers []int) {
	w.t.Helper()
	var all []string
	if w.call(http.MethodGet, "/subjects", nil, &all); !slices.Contains(all, subject) {
		return nil
	}
	w.call(http.MethodGet, "/subjects/"+url.PathEscape(subject)+"/versions", nil, &numbers)
	return numbers
}

// compatibility asks for the verdict on a candidate.
func (w *wire) compatibility(s schemas.Subject) (bool, []string, *refused) {
	w.t.Helper()
	var answer struct {
		Compatible bool     `json:"is_compatible"`
		Messages   []string `json:"messages"`
	}
	no := w.call(http.MethodPost, "/compatibility/subjects/"+url.PathEscape(s.Name)+"/versions?verbose=true&normalize=true", w.body(s), &answer)
	return answer.Compatible, answer.Messages, no
}

// story is the life of some subjects: in each step the files of the tree at that commit, and at last the working tree.
type story struct {
	steps  []map[string]string
	levels map[string]avro.Level
}

var levels = []avro.Level{
	avro.LevelBackward, avro.LevelBackwardTransitive, avro.LevelForward, avro.LevelForwardTransitive, avro.LevelFull, avro.LevelFullTransitive, avro.LevelNone,
}

// drawStory draws subjects with some versions each; with sharing, every fourth refers to a shared type that changes as well.
func drawStory(subjects, steps, seed int, sharing bool) story {
	s := story{levels: map[string]avro.Level{}}
	for range steps {
		s.steps = append(s.steps, map[string]string{})
	}
	shared := []string{
		`{"type":"record","name":"P","namespace":"shared","fields":[{"name":"x","type":"int"}]}`,
		`{"type":"record","name":"P","namespace":"shared","fields":[{"name":"x","type":"long"},{"name":"y","type":"int","default":0}]}`,
		`{"type":"record","name":"P","namespace":"shared","fields":[{"name":"x","type":"int"}]}`,
		`{"type":"record","name":"P","namespace":"shared","fields":[{"name":"x","type":"string"},{"name":"y","type":"int","default":0}]}`,
	}
	for i := range subjects {
		texts := rapid.Custom(func(t *rapid.T) []string { return avrotest.DrawVersions(t, steps) }).Example(seed + i)
		id := fmt.Sprintf("p%d", i)
		s.levels[id+"-value"] = levels[(seed+i)%len(levels)]
		s.steps[0]["contracts/m/"+id+".yaml"] = contractText(id, s.levels[id+"-value"])
		for n, text := range texts {
			if sharing && i%4 == 0 {
				text = fmt.Sprintf(`{"type":"record","name":"W","namespace":"w","fields":[{"name":"p","type":"shared.P"},{"name":"all","type":{"type":"array","items":["null",%s]}}]}`, text)
			}
			s.steps[n]["schemas/m/"+id+".avsc"] = text
			if sharing {
				s.steps[n]["schemas/m/P.avsc"] = shared[n%len(shared)]
			}
		}
	}
	return s
}

// subjects of a step, shared types first; files that are no schema by their names are left out.
func (s story) subjects(t *testing.T, step int) []schemas.Subject {
	t.Helper()
	var all []schemas.Subject
	for name, text := range s.steps[step] {
		if !strings.HasSuffix(name, ".avsc") {
			continue
		}
		parsed, err := schemas.Parse(strings.TrimPrefix(name, "schemas/"), []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, parsed)
	}
	slices.SortFunc(all, func(a, b schemas.Subject) int { return strings.Compare(a.Path, b.Path) }) // P before p
	return all
}

// contractText is the smallest contract of a product.
func contractText(id string, level avro.Level) string {
	return fmt.Sprintf(`apiVersion: v3.1.0
kind: DataContract
id: %[1]s
name: %[1]s
version: 1.0.0
status: active
domain: m
dataProduct: %[1]s
description: {purpose: "P.", usage: "U.", limitations: "L."}
servers:
  - server: kafka
    type: kafka
    host: kafka:9092
    format: avro
    customProperties:
      - {property: topic, value: %[1]s}
      - {property: partitions, value: 8}
      - {property: subject, value: %[1]s-value}
      - {property: compatibility, value: %[2]s}
      - {property: messageKey, value: id}
      - {property: cleanupPolicy, value: delete}
      - {property: deadLetterRate, value: 0.01}
schema:
  - name: %[3]s
    physicalName: %[1]s
    physicalType: topic
    logicalType: object
    description: "D."
    properties:
      - {name: a, description: "A.", logicalType: integer, physicalType: int, required: true}
slaProperties:
  - {property: latency, value: 500, unit: ms}
  - {property: retention, value: 7, unit: d}
  - {property: availability, value: 99.9, unit: percent}
  - {property: timeToDetect, value: 1, unit: min}
  - {property: timeToRepair, value: 4, unit: h}
team:
  name: team
  members: [{username: owner, role: owner}]
support:
  - {channel: "#m", tool: slack, scope: interactive}
`, id, level, strings.ReplaceAll(id, "-", "_"))
}

// tell makes a repository of all steps but the last, which becomes its working tree.
func (s story) tell(t *testing.T) *historytest.Repository {
	t.Helper()
	r := historytest.New(t)
	for _, files := range s.steps[:len(s.steps)-1] {
		r.Commit(files)
	}
	r.Write(s.steps[len(s.steps)-1])
	return r
}

// TestTheSameAsTheRegistry compares, over generated lives of subjects, the versions with those of a registry to which every
// commit was registered, and the verdicts, messages and acceptance with its own. STREAMFORGE_CHECK_SUBJECTS sets how many lives.
func TestTheSameAsTheRegistry(t *testing.T) {
	address := embedded(t)
	const steps = 4
	subjects, err := strconv.Atoi(cmp.Or(os.Getenv("STREAMFORGE_CHECK_SUBJECTS"), "150"))
	if err != nil {
		t.Fatal(err)
	}
	s := drawStory(subjects, steps, 1000, true)
	r := s.tell(t)
	w := &wire{t: t, url: address, current: map[string]int{}}
	w.call(http.MethodPut, "/config", map[string]string{"compatibility": "NONE"}, nil)
	for step := range steps - 1 {
		for _, subject := range s.subjects(t, step) {
			w.register(subject)
		}
	}
	sameVersions(t, r, w)
	report, err := check.Run(t.Context(), check.Options{Dir: r.Dir})
	if err != nil {
		t.Fatal(err)
	}
	pathsLeadSomewhere(t, s, report)
	counts := compareVerdicts(t, s, report, w, true)
	t.Logf("%v", counts)
	for _, kind := range []string{"same", "compatible", "incompatible", "refused"} {
		if counts[kind] == 0 {
			t.Errorf("no subject is %s: the test compares too little", kind)
		}
	}
}

// pathsLeadSomewhere follows every path of the first layer's findings in the schemas that it can be about.
func pathsLeadSomewhere(t *testing.T, s story, report check.Report) {
	t.Helper()
	store := history.NewStore()
	var held map[string]history.Held
	for step := range s.steps {
		held, _ = store.RegisterAll(s.subjects(t, step), "")
	}
	leads := func(s *avro.Schema, path string) bool {
		_, err := contract.FieldAt(s, path)
		return err == nil
	}
	followed := 0
	for _, subject := range report.Subjects {
		sent := held[subject.Name]
		for _, f := range subject.Findings {
			if f.Layer != check.Confluent || f.Path == "" {
				continue
			}
			followed++
			found := slices.ContainsFunc(store.Versions(subject.Name), func(v *history.Version) bool {
				parsed, err := v.Schema()
				if err != nil {
					t.Fatal(err)
				}
				return leads(parsed, f.Path)
			})
			// A type that is defined once more within itself is so in the text alone: a registry writes it by name.
			if candidate, err := sent.Version.Candidate(sent.Text); err == nil {
				found = found || leads(candidate, f.Path)
			}
			if !found {
				t.Errorf("%s: %s at %s leads nowhere in any version", subject.Name, f.Rule, f.Path)
			}
		}
	}
	if followed == 0 {
		t.Error("no finding has a path")
	}
}

// sameVersions compares the versions worked out from git with those that the registry holds.
func sameVersions(t *testing.T, r *historytest.Repository, w *wire) {
	t.Helper()
	repository, err := history.Open(t.Context(), r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	base, err := repository.Base(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	h, err := repository.Read(t.Context(), base)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	w.call(http.MethodGet, "/subjects", nil, &names)
	if len(names) == 0 {
		t.Fatal("the registry has no subject")
	}
	for _, name := range names {
		numbers := w.versions(name)
		var got, want []string
		for _, n := range numbers {
			var v struct {
				Schema     string          `json:"schema"`
				References []wireReference `json:"references"`
			}
			w.call(http.MethodGet, fmt.Sprintf("/subjects/%s/versions/%d", url.PathEscape(name), n), nil, &v)
			want = append(want, fmt.Sprint(n, v.Schema, v.References))
		}
		for _, v := range h.Versions(name) {
			references := []wireReference{}
			for _, reference := range v.References {
				references = append(references, wireReference(reference))
			}
			got = append(got, fmt.Sprint(v.Number, v.Text, references))
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("versions of %s (-registry +git):\n%s", name, diff)
		}
	}
}

// compareVerdicts asks the registry about every subject of the last step. messages says whether its words are compared.
func compareVerdicts(t *testing.T, s story, report check.Report, w *wire, messages bool) map[string]int {
	t.Helper()
	counts := map[string]int{}
	for _, subject := range s.subjects(t, len(s.steps)-1) {
		level, hasContract := s.levels[subject.Name]
		if !hasContract {
			level = avro.LevelFullTransitive
		}
		w.broke = false
		if w.lost != nil && (level == avro.LevelNone || len(w.versions(subject.Name)) == 0) {
			continue
		}
		w.call(http.MethodPut, "/config/"+url.PathEscape(subject.Name), map[string]string{"compatibility": string(level)}, nil)
		compatible, words, no := w.compatibility(subject)
		if w.broke || w.lost[subject.Name] {
			counts["no answer"]++
			continue
		}
		i := slices.IndexFunc(report.Subjects, func(r check.Subject) bool { return r.Name == subject.Name })
		if !hasContract {
			// What refers to the shared type means its new version, so that must be in the registry, whatever its verdict.
			w.call(http.MethodPut, "/config/"+url.PathEscape(subject.Name), map[string]string{"compatibility": "NONE"}, nil)
			w.register(subject)
		}
		if i < 0 {
			counts["same"]++
			before := w.versions(subject.Name)
			if again := w.register(subject); again != nil && w.lost == nil || len(w.versions(subject.Name)) != len(before) {
				t.Errorf("%s is unchanged to the check, the registry makes version %d after %v (%v)", subject.Name, w.current[subject.Name], before, again)
			}
			continue
		}
		got := report.Subjects[i]
		var layer []check.Finding
		for _, f := range got.Findings {
			if f.Layer == check.Confluent {
				layer = append(layer, f)
			}
		}
		named := slices.ContainsFunc(got.Findings, func(f check.Finding) bool { return f.Rule == string(rule.NameChanged) })
		ambiguous := slices.ContainsFunc(layer, func(f check.Finding) bool { return f.Rule == check.Ambiguous })
		switch isRefused := len(layer) > 0 && layer[0].Rule == check.NotAccepted; {
		case w.lost != nil && (no == nil && !compatible && len(layer) == 0 && named || no != nil && ambiguous):
			// Apicurio compares namespaces, which Avro's compatibility rules do not, and has no word for the ambiguous.
			counts["otherwise"]++
		case isRefused || no != nil:
			counts["refused"]++
			if !isRefused || no == nil {
				t.Errorf("%s: the registry refuses: %v, the check says %+v\n%s", subject.Name, no, layer, subject.Text)
			}
			continue
		case compatible != (len(layer) == 0):
			t.Errorf("%s at %s: the registry says compatible=%v, the check finds %+v\n%s", subject.Name, level, compatible, layer, strings.Join(words, "\n"))
		case compatible:
			counts["compatible"]++
		default:
			counts["incompatible"]++
		}
		if messages && len(words)+len(got.Messages) > 0 {
			if diff := gocmp.Diff(words, got.Messages); diff != "" {
				t.Errorf("%s at %s: messages (-registry +check):\n%s", subject.Name, level, diff)
			}
		}
	}
	return counts
}

// TestTheSameVerdictsAsApicurio does the same on Apicurio, whose messages are its own. It cannot check what has references, at
// NONE it does not look at a schema at all, and it answers 500 to some schemas that Avro's library takes.
func TestTheSameVerdictsAsApicurio(t *testing.T) {
	apachetest.Require(t)
	apicurio, err := apachetest.StartApicurio(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(apicurio.Stop)
	const subjects, steps = 60, 4
	s := drawStory(subjects, steps, 5000, false)
	r := s.tell(t)
	w := &wire{t: t, url: apicurio.URL, current: map[string]int{}, lost: map[string]bool{}}
	for step := range steps - 1 {
		for _, subject := range s.subjects(t, step) {
			w.register(subject)
		}
	}
	report, err := check.Run(t.Context(), check.Options{Dir: r.Dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v", compareVerdicts(t, s, report, w, false))
}

// TestAgainstARegistry takes versions and levels from a registry instead of git.
func TestAgainstARegistry(t *testing.T) {
	w := &wire{t: t, url: embedded(t), current: map[string]int{}}
	s := drawStory(40, 4, 9000, true)
	w.call(http.MethodPut, "/config", map[string]string{"compatibility": "NONE"}, nil)
	for step := range 3 {
		for _, subject := range s.subjects(t, step) {
			w.register(subject)
		}
	}
	for name, level := range s.levels {
		w.call(http.MethodPut, "/config/"+name, map[string]string{"compatibility": string(level)}, nil)
	}
	w.call(http.MethodPut, "/config/shared.P", map[string]string{"compatibility": string(avro.LevelFullTransitive)}, nil)
	// git knows nothing of the past here: one commit with the contracts, everything else is in the registry.
	r := historytest.New(t)
	contracts := map[string]string{"README.md": "x"}
	for name, text := range s.steps[0] {
		if strings.HasPrefix(name, "contracts/") {
			contracts[name] = text
		}
	}
	r.Commit(contracts)
	r.Write(s.steps[3])
	client, err := registry.New(registry.Config{URL: w.url}, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	report, err := check.Run(t.Context(), check.Options{Dir: r.Dir, Registry: registrybase.New(client)})
	if err != nil {
		t.Fatal(err)
	}
	if report.Base != "registry "+w.url {
		t.Errorf("base %q", report.Base)
	}
	t.Logf("%v", compareVerdicts(t, s, report, w, true))
}
