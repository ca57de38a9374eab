package architecture_test

// These tests hold the files in compose/ to what programs, contracts and local stacks say. They are here and not beside the
// files because Go lets only what is below services/ import services/internal.

import (
	"encoding/xml"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/goccy/go-yaml"

	"github.com/streamforge/streamforge/contracts"
	"github.com/streamforge/streamforge/services/internal/contract"
	"github.com/streamforge/streamforge/services/internal/localstack"
	"github.com/streamforge/streamforge/services/internal/market/venue/all"
)

// programs of the platform that the stack runs for good; apply runs once.
var programs = []string{"loader", "parser", "venue-simulator", "writer"}

const password = "s3cret"

// composeDir from this folder.
const composeDir = "../../../compose"

func loadProject(t *testing.T, environment ...string) (*types.Project, error) {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{filepath.Join(composeDir, "docker-compose.yaml")}, cli.WithEnv(environment), cli.WithoutEnvironmentResolution)
	if err != nil {
		t.Fatal(err)
	}
	return options.LoadProject(t.Context())
}

func project(t *testing.T) *types.Project {
	t.Helper()
	p, err := loadProject(t, "CLICKHOUSE_PASSWORD="+password)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTheStackHasTheProgramsAndWhatTheyNeed(t *testing.T) {
	want := append([]string{"apply", "clickhouse", "kafka", "prometheus", "schema-registry"}, programs...)
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(project(t).Services)); !slices.Equal(got, want) {
		t.Errorf("services %v, want %v", got, want)
	}
}

func TestWithoutAPasswordNothingStarts(t *testing.T) {
	if _, err := loadProject(t); err == nil || !strings.Contains(err.Error(), "set CLICKHOUSE_PASSWORD") {
		t.Errorf("error %v", err)
	}
}

// TestProgramsLearnTheAddressesAsOnTheLocalStacks: one function says how a program learns where the parts are.
func TestProgramsLearnTheAddressesAsOnTheLocalStacks(t *testing.T) {
	p := project(t)
	addresses := localstack.Addresses{
		Kafka: "kafka:9092", Registry: "http://schema-registry:8081",
		ClickHouse: "http://streamforge:" + password + "@clickhouse:8123/default",
	}
	for _, name := range append([]string{"apply"}, programs...) {
		if name == "venue-simulator" { // knows neither
			continue
		}
		environment := p.Services[name].Environment
		for _, pair := range addresses.Environment() {
			variable, value, _ := strings.Cut(pair, "=")
			if got := environment[variable]; got == nil || *got != value {
				t.Errorf("%s has %s=%v, want %s", name, variable, deref(got), value)
			}
		}
	}
	for name, port := range map[string]string{"kafka": "INTERNAL://:9092", "schema-registry": "http://0.0.0.0:8081"} {
		found := false
		for _, value := range p.Services[name].Environment {
			found = found || strings.Contains(deref(value), port)
		}
		if !found {
			t.Errorf("%s does not listen at %s, where the programs look for it", name, port)
		}
	}
}

func TestTheBrokerTakesWhatTheContractsAllow(t *testing.T) {
	environment := project(t).Services["kafka"].Environment
	all, err := contract.Load(contracts.FS)
	if err != nil {
		t.Fatal(err)
	}
	for _, setting := range []string{"KAFKA_MESSAGE_MAX_BYTES", "KAFKA_REPLICA_FETCH_MAX_BYTES"} {
		limit, err := strconv.Atoi(deref(environment[setting]))
		if err != nil {
			t.Fatalf("%s: %v", setting, err)
		}
		for _, c := range all {
			if c.Topic.MaxMessageBytes > limit {
				t.Errorf("%s is %d, contract %s allows %d", setting, limit, c.ID, c.Topic.MaxMessageBytes)
			}
		}
	}
	if deref(environment["KAFKA_AUTO_CREATE_TOPICS_ENABLE"]) != "false" {
		t.Error("the broker makes topics by itself; they come from contracts only")
	}
}

func TestNothingIsPublishedBeyondLoopback(t *testing.T) {
	published := map[string]string{}
	for name, s := range project(t).Services {
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s publishes %s on %q", name, port.Published, port.HostIP)
			}
			if other, twice := published[port.Published]; twice {
				t.Errorf("%s and %s both publish %s", name, other, port.Published)
			}
			published[port.Published] = name
		}
	}
}

func TestEveryServiceIsBoundedAndWatched(t *testing.T) {
	for name, s := range project(t).Services {
		if s.Deploy == nil || s.Deploy.Resources.Limits == nil || s.Deploy.Resources.Limits.MemoryBytes == 0 || s.Deploy.Resources.Limits.NanoCPUs == 0 {
			t.Errorf("%s has no limit of memory and CPU", name)
		}
		if name == "apply" {
			continue
		}
		if s.HealthCheck == nil || len(s.HealthCheck.Test) == 0 {
			t.Errorf("%s has no health check", name)
		} else if slices.Contains(programs, name) && !strings.HasSuffix(s.HealthCheck.Test[len(s.HealthCheck.Test)-1], ":8080/healthz") {
			t.Errorf("%s is checked by %v, want /healthz", name, s.HealthCheck.Test)
		}
	}
}

func TestProgramsRunUnprivilegedAndWaitForTheirTopics(t *testing.T) {
	p := project(t)
	for _, name := range append([]string{"apply"}, programs...) {
		s := p.Services[name]
		if !s.ReadOnly || !slices.Contains(s.CapDrop, "ALL") || s.User != "" {
			t.Errorf("%s: read-only %v, dropped capabilities %v, user %q (the image says which)", name, s.ReadOnly, s.CapDrop, s.User)
		}
		if name == "apply" || name == "venue-simulator" {
			continue
		}
		if s.DependsOn["apply"].Condition != types.ServiceConditionCompletedSuccessfully {
			t.Errorf("%s does not wait for apply", name)
		}
	}
	if p.Services["apply"].Restart != "no" {
		t.Error("apply runs once")
	}
}

func TestTheImageHoldsEveryProgramThatIsRun(t *testing.T) {
	text := read(t, "Dockerfile")
	for _, s := range project(t).Services {
		if s.Build == nil {
			continue
		}
		program := s.Command[0]
		if !strings.Contains(text, "./services/"+program) {
			t.Errorf("the image does not build %s", program)
		}
		if _, err := os.Stat(filepath.Join(composeDir, "..", "services", program)); err != nil {
			t.Errorf("there is no program %s: %v", program, err)
		}
	}
	if m := regexp.MustCompile(`(?m)^USER (\S+)$`).FindStringSubmatch(text); m == nil || strings.HasPrefix(m[1], "0") || strings.HasPrefix(m[1], "root") {
		t.Errorf("the image runs as %v", m)
	}
	// What the local stack gives every program, the image does.
	environment := regexp.MustCompile(`(?m)^ENV (HTTP_ADDRESS.*)$`).FindStringSubmatch(text)
	if environment == nil || !slices.Contains(strings.Fields(environment[1]), localstack.OneArena) {
		t.Errorf("the image does not set %s: %v", localstack.OneArena, environment)
	}
	// The builder's Go must be the module's.
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "../go.mod"))
	if version == nil || !strings.Contains(text, "FROM golang:"+version[1]+"-") {
		t.Errorf("the image is built with another Go than go.mod's %v", version)
	}
}

func TestPrometheusScrapesEveryProgram(t *testing.T) {
	var config struct {
		ScrapeConfigs []struct {
			StaticConfigs []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	if err := yaml.Unmarshal([]byte(read(t, "prometheus/prometheus.yaml")), &config); err != nil {
		t.Fatal(err)
	}
	var targets []string
	for _, s := range config.ScrapeConfigs {
		for _, static := range s.StaticConfigs {
			targets = append(targets, static.Targets...)
		}
	}
	for _, program := range programs {
		if !slices.Contains(targets, program+":8080") {
			t.Errorf("%s is not scraped: %v", program, targets)
		}
	}
}

// TestAlertsAreMountedAndNameWhatProgramsTell: an alert on a metric that nobody has never fires.
func TestAlertsAreMountedAndNameWhatProgramsTell(t *testing.T) {
	var config struct {
		RuleFiles []string `yaml:"rule_files"`
	}
	if err := yaml.Unmarshal([]byte(read(t, "prometheus/prometheus.yaml")), &config); err != nil {
		t.Fatal(err)
	}
	for _, file := range config.RuleFiles {
		if !slices.ContainsFunc(project(t).Services["prometheus"].Volumes, func(v types.ServiceVolumeConfig) bool {
			return v.Target == file && strings.HasSuffix(v.Source, "/prometheus/"+filepath.Base(file))
		}) {
			t.Errorf("%s is not mounted", file)
		}
		var alerts struct {
			Groups []struct {
				Name  string
				Rules []struct {
					Alert, Expr, For    string
					Labels, Annotations map[string]string
				}
			}
		}
		if err := yaml.UnmarshalWithOptions([]byte(read(t, "prometheus/"+filepath.Base(file))), &alerts, yaml.Strict()); err != nil {
			t.Fatal(err)
		}
		for _, group := range alerts.Groups {
			for _, r := range group.Rules {
				if r.Alert == "" || r.Labels["severity"] == "" || r.Annotations["summary"] == "" || !slices.ContainsFunc(toldMetrics, func(m string) bool { return strings.Contains(r.Expr, m) }) {
					t.Errorf("%+v", r)
				}
			}
		}
	}
	if len(config.RuleFiles) == 0 {
		t.Error("no alerts")
	}
}

// toldMetrics are those that alerts may rest on; the tests of the programs hold their names.
var toldMetrics = []string{
	"streamforge_rule_violations_total", "streamforge_(parser|subscription|writer)_blocked", "streamforge_writer_paused",
	"streamforge_writer_(missing_records|duplicated_records|foreign_rows|differing_buckets)", "streamforge_writer_verified_timestamp_seconds",
}

func TestTheLoadersFeedsAreOnesThatTheSimulatorServes(t *testing.T) {
	var config struct {
		Feeds []struct {
			Name, Venue, Websocket, Rest string
			Symbols                      []string
		}
	}
	if err := yaml.UnmarshalWithOptions([]byte(read(t, "loader/feeds.yaml")), &config, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	listen := project(t).Services["venue-simulator"].Command
	_, port, _ := strings.Cut(listen[slices.Index(listen, "--listen")+1], ":")
	for _, feed := range config.Feeds {
		if _, err := all.Get(feed.Venue); err != nil {
			t.Errorf("feed %s: %v", feed.Name, err)
		}
		if want := "venue-simulator:" + port + "/" + feed.Venue; feed.Websocket != "ws://"+want || feed.Rest != "http://"+want {
			t.Errorf("feed %s connects to %s and %s, the simulator is at %s", feed.Name, feed.Websocket, feed.Rest, want)
		}
		if len(feed.Symbols) == 0 {
			t.Errorf("feed %s has no symbols", feed.Name)
		}
	}
	if len(config.Feeds) == 0 {
		t.Error("no feeds")
	}
}

func TestClickHouseIsConfiguredForExactlyOnce(t *testing.T) {
	for file, want := range map[string]string{
		"clickhouse/users.xml":  "<async_insert>0</async_insert>",
		"clickhouse/server.xml": "<non_replicated_deduplication_window>10000<",
	} {
		text := read(t, file)
		if !strings.Contains(text, want) {
			t.Errorf("%s lacks %s", file, want)
		}
		for decoder := xml.NewDecoder(strings.NewReader(text)); ; {
			if _, err := decoder.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
		}
	}
	mounted := project(t).Services["clickhouse"].Volumes
	for _, target := range []string{"/etc/clickhouse-server/config.d/", "/etc/clickhouse-server/users.d/"} {
		i := slices.IndexFunc(mounted, func(v types.ServiceVolumeConfig) bool { return strings.HasPrefix(v.Target, target) })
		if i < 0 {
			t.Errorf("nothing is mounted in %s", target)
		} else if _, err := os.Stat(mounted[i].Source); err != nil {
			t.Error(err)
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(composeDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func deref(s *string) string {
	if s == nil {
		return "(unset)"
	}
	return *s
}

// differs lists the broker's settings that the Docker stack has otherwise than the apache local stack, with the reason.
var differs = map[string]string{
	"process.roles": "same, in the image's own words", "node.id": "same", "controller.quorum.voters": "an address",
	"listeners": "an address", "advertised.listeners": "an address", "listener.security.protocol.map": "the listeners' names",
	"inter.broker.listener.name": "the listeners' names", "controller.listener.names": "same", "log.dirs": "a folder of the image",
}

// laptop are settings that keep a broker small on a machine that does other things; a container has its limits instead.
var laptop = []string{
	"offsets.topic.num.partitions", "transaction.state.log.num.partitions", "num.network.threads", "num.io.threads", "background.threads",
	"log.cleaner.dedupe.buffer.size", "log.cleaner.threads",
}

// TestTheBrokerIsSetAsOnTheLocalStack compares the settings of both stacks' Apache Kafka, as the local stack's source has them.
func TestTheBrokerIsSetAsOnTheLocalStack(t *testing.T) {
	environment := project(t).Services["kafka"].Environment
	text := read(t, "../services/internal/localstack/apache/kafka.go")
	settings := regexp.MustCompile(`(?m)^\s+"([a-z0-9.]+)=([^"]+)",$`).FindAllStringSubmatch(text, -1)
	if len(settings) < 10 {
		t.Fatalf("only %d settings found in the local stack's source", len(settings))
	}
	for _, s := range settings {
		name, want := s[1], s[2]
		if differs[name] != "" || slices.Contains(laptop, name) {
			continue
		}
		variable := "KAFKA_" + strings.ToUpper(strings.ReplaceAll(name, ".", "_"))
		if got := environment[variable]; deref(got) != want {
			t.Errorf("%s is %s in docker-compose.yaml, the local stack has %s=%s", variable, deref(got), name, want)
		}
	}
}
