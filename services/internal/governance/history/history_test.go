package history_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/streamforge/streamforge/services/internal/governance/history"
	"github.com/streamforge/streamforge/services/internal/governance/history/historytest"
)

// record is a schema with the given fields, each "name type" in JSON's form of the type.
func record(name string, fields ...string) string {
	for i, f := range fields {
		field, kind, _ := strings.Cut(f, " ")
		fields[i] = fmt.Sprintf(`{"name":%q,"type":%s}`, field, kind)
	}
	return fmt.Sprintf(`{"type":"record","name":%q,"namespace":"n","fields":[%s]}`, name, strings.Join(fields, ","))
}

func read(t *testing.T, r *historytest.Repository, against string) *history.History {
	t.Helper()
	repository, err := history.Open(t.Context(), r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	base, err := repository.Base(t.Context(), against)
	if err != nil {
		t.Fatal(err)
	}
	h, err := repository.Read(t.Context(), base)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// numbered is what a subject holds: the number of each version, its text and the versions of its references.
func numbered(t *testing.T, h *history.History, subject string) []string {
	t.Helper()
	var out []string
	for _, v := range h.Versions(subject) {
		words := fmt.Sprintf("%d %s", v.Number, v.Text)
		for _, r := range v.References {
			words += fmt.Sprintf(" %s=%d", r.Subject, r.Version)
		}
		if _, err := v.Schema(); err != nil {
			t.Errorf("%s version %d does not parse: %v", subject, v.Number, err)
		}
		out = append(out, words)
	}
	return out
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestVersionsAreContentsInTheirNormalForm(t *testing.T) {
	r := historytest.New(t)
	one, two := record("T", `a "int"`), record("T", `a "int"`, `b "long"`)
	r.Commit(map[string]string{"schemas/m/t.avsc": one})
	r.Commit(map[string]string{"schemas/m/t.avsc": strings.ReplaceAll(one, ",", " ,\n\t")}) // another spelling is no version
	r.Commit(map[string]string{"README.md": "nothing of ours"})
	r.Commit(map[string]string{"schemas/m/t.avsc": two})
	r.Commit(map[string]string{"schemas/m/t.avsc": one}) // a content that returns is no version, and does not become latest
	h := read(t, r, "")
	same(t, "versions", numbered(t, h, "t-value"), []string{"1 " + one, "2 " + two})
	if got := h.Schemas["t-value"].Version.Number; got != 1 {
		t.Errorf("the base's file is version %d, want 1", got)
	}
}

func TestASubjectIsFollowedThroughFolders(t *testing.T) {
	r := historytest.New(t)
	one, two := record("T", `a "int"`), record("T", `a "long"`)
	r.Commit(map[string]string{"schemas/m/t.avsc": one})
	r.Commit(map[string]string{"schemas/m/t.avsc": "", "schemas/platform/t.avsc": one})
	r.Commit(map[string]string{"schemas/platform/t.avsc": two})
	h := read(t, r, "")
	same(t, "versions", numbered(t, h, "t-value"), []string{"1 " + one, "2 " + two})
	if got := h.Schemas["t-value"].Path; got != "platform/t.avsc" {
		t.Errorf("path %s", got)
	}
	// Under another name it is another subject; the old one keeps what it has.
	r.Commit(map[string]string{"schemas/platform/t.avsc": "", "schemas/platform/u.avsc": two})
	h = read(t, r, "")
	same(t, "versions of u", numbered(t, h, "u-value"), []string{"1 " + two})
	if len(h.Versions("t-value")) != 2 {
		t.Error("a subject forgets its versions when its file goes")
	}
	if _, ok := h.Schemas["t-value"]; ok {
		t.Error("the base still has a file for t")
	}
	r.Commit(map[string]string{"schemas/m/t.avsc": one})
	if h = read(t, r, ""); len(h.Versions("t-value")) != 2 || h.Schemas["t-value"].Version.Number != 1 {
		t.Error("a file that comes back is not the version that it was")
	}
}

func TestReferencesAreThoseOfTheCommit(t *testing.T) {
	r := historytest.New(t)
	p1, p2 := record("P", `x "int"`), record("P", `x "int"`, `y "int"`)
	user := record("T", `p "n.P"`)
	text := strings.ReplaceAll(user, `"n.P"`, `"P"`) // as the Java library writes a name of the same namespace
	r.Commit(map[string]string{"schemas/m/P.avsc": p1, "schemas/m/t.avsc": user})
	r.Commit(map[string]string{"schemas/m/P.avsc": p2}) // a changed shared type is a new version of who uses it
	r.Commit(map[string]string{"schemas/m/P.avsc": p1}) // back: no new version of either
	h := read(t, r, "")
	same(t, "shared", numbered(t, h, "n.P"), []string{"1 " + p1, "2 " + p2})
	same(t, "user", numbered(t, h, "t-value"), []string{"1 " + text + " n.P=1", "2 " + text + " n.P=2"})
	first, err := h.Versions("t-value")[0].Schema()
	if err != nil {
		t.Fatal(err)
	}
	if got := len(first.Field("p").Type.Fields); got != 1 {
		t.Errorf("version 1 resolves its reference to a type of %d fields, it had 1 at that commit", got)
	}
	if h.Schemas["t-value"].Version.Number != 1 {
		t.Error("the base's file is version 1 again")
	}
	// The same type written out is, to a registry, the version that refers to it.
	r.Commit(map[string]string{"schemas/m/t.avsc": record("T", `p `+p1)})
	if h = read(t, r, ""); len(h.Versions("t-value")) != 2 || h.Schemas["t-value"].Version.Number != 1 {
		t.Errorf("written out: %v", numbered(t, h, "t-value"))
	}
}

func TestWhatNoRegistryWouldTakeIsLeftOutWithANote(t *testing.T) {
	r := historytest.New(t)
	one, two := record("T", `a "int"`), record("T", `a "int"`, `b "int"`)
	for _, text := range []string{
		one, "not JSON", record("T", `a "unknown.Type"`), `{"type":"record","name":"T","namespace":"n","fields":[{"name":"b","type":"boolean","default":3}]}`,
		`{"type":"record","name":"9","fields":[]}`, two,
	} {
		r.Commit(map[string]string{"schemas/m/t.avsc": text})
	}
	r.Commit(map[string]string{"schemas/m/A.avsc": record("A", `b "n.B"`), "schemas/m/B.avsc": record("B", `a "n.A"`)})
	r.Commit(map[string]string{"schemas/m/.avsc": "{}", "schemas/other/t.avsc": one})
	h := read(t, r, "")
	same(t, "versions", numbered(t, h, "t-value"), []string{"1 " + one, "2 " + two})
	all := strings.Join(h.Notes, "\n")
	for _, want := range []string{"schemas/m/t.avsc as of ", "not JSON", "unknown.Type", "invalid default for field b", "schemas/m/A.avsc", "schemas/m/B.avsc", "belongs to schemas/m/t.avsc already"} {
		if !strings.Contains(all, want) {
			t.Errorf("no note says %q:\n%s", want, all)
		}
	}
	for range 2 {
		r.Commit(map[string]string{"README.md": fmt.Sprint(len(all))})
	}
	if again := read(t, r, ""); len(again.Notes) != len(h.Notes) {
		t.Error("a note is given once for each content")
	}
}

func TestAMergeCountsAsOneStep(t *testing.T) {
	r := historytest.New(t)
	one, two, three := record("T", `a "int"`), record("T", `a "int"`, `b "int"`), record("T", `a "int"`, `b "int"`, `c "int"`)
	r.Commit(map[string]string{"schemas/m/t.avsc": one})
	r.Git("checkout", "-q", "-b", "side")
	r.Commit(map[string]string{"schemas/m/t.avsc": two}) // never on main by itself
	r.Commit(map[string]string{"schemas/m/t.avsc": three})
	r.Git("checkout", "-q", "main")
	r.Commit(map[string]string{"schemas/m/u.avsc": one})
	r.Git("merge", "-q", "--no-ff", "-m", "merge", "side")
	h := read(t, r, "")
	same(t, "versions", numbered(t, h, "t-value"), []string{"1 " + one, "2 " + three})
	same(t, "the other parent's", numbered(t, h, "u-value"), []string{"1 " + one})
	same(t, "side", numbered(t, read(t, r, "side"), "t-value"), []string{"1 " + one, "2 " + two, "3 " + three})
}

func TestTheBaseIsOriginsMain(t *testing.T) {
	r := historytest.New(t)
	first := r.Commit(map[string]string{"schemas/m/t.avsc": record("T", `a "int"`)})
	second := r.Commit(map[string]string{"schemas/m/t.avsc": record("T", `a "long"`)})
	if got := read(t, r, "").Base; got.Hash != second || got.Name != "main" {
		t.Errorf("base %v", got)
	}
	r.Git("update-ref", "refs/remotes/origin/main", first)
	if got := read(t, r, "").Base; got.Hash != first || got.Name != "origin/main" {
		t.Errorf("base %v", got)
	}
	if got := read(t, r, "HEAD").Base; got.Hash != second {
		t.Errorf("base %v", got)
	}
	repository, err := history.Open(t.Context(), filepath.Join(r.Dir, "schemas", "m"))
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{"nothing", "--all", "HEAD:schemas", "-h"} {
		if _, err := repository.Base(t.Context(), ref); err == nil || !strings.Contains(err.Error(), "--against") {
			t.Errorf("%s: %v", ref, err)
		}
	}
	r.Git("branch", "-m", "main", "trunk")
	r.Git("update-ref", "-d", "refs/remotes/origin/main")
	if _, err := repository.Base(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "--against") {
		t.Errorf("without main: %v", err)
	}
}

func TestAShallowCloneNamesTheRemedy(t *testing.T) {
	r := historytest.New(t)
	r.Commit(map[string]string{"schemas/m/t.avsc": record("T", `a "int"`)})
	r.Commit(map[string]string{"schemas/m/t.avsc": record("T", `a "long"`)})
	clone := filepath.Join(t.TempDir(), "clone")
	r.Git("clone", "-q", "--depth", "1", "file://"+r.Dir, clone)
	_, err := history.Open(t.Context(), clone)
	if !errors.Is(err, history.ErrShallow) || !strings.Contains(err.Error(), "fetch-depth: 0") {
		t.Errorf("shallow: %v", err)
	}
	r.Git("-C", clone, "fetch", "-q", "--unshallow")
	if _, err := history.Open(t.Context(), clone); err != nil {
		t.Error(err)
	}
}

func TestOutsideOfARepository(t *testing.T) {
	t.Setenv("GIT_CEILING_DIRECTORIES", os.TempDir())
	dir := t.TempDir()
	if _, err := history.Open(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "not a git repository") || !strings.Contains(err.Error(), dir) {
		t.Errorf("no repository: %v", err)
	}
	bare := historytest.New(t)
	bare.Commit(map[string]string{"a": "b"})
	clone := filepath.Join(t.TempDir(), "bare.git")
	bare.Git("clone", "-q", "--bare", bare.Dir, clone)
	if _, err := history.Open(t.Context(), clone); err == nil || !strings.Contains(err.Error(), "work") {
		t.Errorf("a bare repository: %v", err)
	}
}

// TestSettingsOfAPersonDoNotMatter runs under settings that change what git log prints.
func TestSettingsOfAPersonDoNotMatter(t *testing.T) {
	r := historytest.New(t)
	one, two := record("T", `a "int"`), record("T", `a "int"`, `b "int"`)
	r.Commit(map[string]string{"schemas/mä rkt/t.avsc": one, "schemas/m/o.avsc": one})
	r.Commit(map[string]string{"schemas/mä rkt/t.avsc": "", "schemas/n/t.avsc": two})
	for _, setting := range []string{"log.showRoot=false", "diff.renames=copies", "log.showSignature=true", "log.follow=true", "color.ui=always", "core.quotePath=true", "log.diffMerges=combined", "diff.external=false", "log.date=relative", "core.abbrev=4", "diff.relative=true", "log.decorate=full"} {
		name, value, _ := strings.Cut(setting, "=")
		r.Git("config", name, value)
	}
	h := read(t, r, "")
	same(t, "versions", numbered(t, h, "t-value"), []string{"1 " + one, "2 " + two})
	same(t, "first commit", numbered(t, h, "o-value"), []string{"1 " + one})
}
