package cluster_test

import (
	"testing"

	"github.com/streamforge/streamforge/services/internal/governance"
	"github.com/streamforge/streamforge/services/internal/localstack/apache/apachetest"
)

// TestOnApacheASecondPlanIsEmpty is the same promise on the other stack: Apache Kafka and Apicurio, which differ from ours in
// what they answer for a level that is not set and in when they know a topic.
func TestOnApacheASecondPlanIsEmpty(t *testing.T) {
	brokers, registryURL := apachetest.Start(t)
	s := connect(t, brokers, registryURL, true)
	s.deps.Progress = func(p governance.Progress) {
		if p.Done {
			t.Log(p)
		}
	}
	g := govern(t, s)
	everyKind(t, s, apply(t, g), governance.KindTable, governance.KindView, governance.KindSubject, governance.KindRight, governance.KindTopic)
	if again := plan(t, g); !again.Empty() {
		t.Errorf("the second plan:\n%s", again)
	}
	driftIsNamedAndMended(t, s, g)
}
