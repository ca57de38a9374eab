package broker_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/streamforge/streamforge/services/internal/localstack/broker"
)

// A member that never comes back to a rebalance, and whose session is long, does not hold the others up for as long as it was allowed to.
func TestARebalanceDoesNotWaitForItsDead(t *testing.T) {
	running, err := broker.New(broker.Config{Listen: "127.0.0.1:0", RebalanceTimeout: 500 * time.Millisecond}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(running.Close)
	join := func(client *kgo.Client) *kmsg.JoinGroupResponse {
		t.Helper()
		request := kmsg.NewPtrJoinGroupRequest()
		request.Group, request.ProtocolType, request.SessionTimeoutMillis, request.RebalanceTimeoutMillis = "group", "consumer", 200_000, 250_000
		request.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range"}}
		for {
			answer, err := request.RequestWith(t.Context(), client)
			if err != nil {
				t.Fatal(err)
			}
			if answer.ErrorCode == kerr.MemberIDRequired.Code {
				request.MemberID = answer.MemberID
				continue
			}
			if err := kerr.ErrorForCode(answer.ErrorCode); err != nil {
				t.Fatal(err)
			}
			return answer
		}
	}
	dead := join(dial(t, running))
	began := time.Now()
	alive := join(dial(t, running))
	if took := time.Since(began); took > 100*time.Second {
		t.Errorf("the rebalance took %s", took)
	}
	if len(alive.Members) != 1 || alive.Members[0].MemberID == dead.MemberID {
		t.Errorf("the group's members are %+v", alive.Members)
	}
}
