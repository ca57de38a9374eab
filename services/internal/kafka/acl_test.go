package kafka

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/streamforge/streamforge/services/internal/localstack/broker"
	"github.com/streamforge/streamforge/services/internal/localstack/broker/brokertest"
)

func TestAccessRightsAreMadeListedAndTaken(t *testing.T) {
	admin, err := NewAdmin(ClientConfig{BootstrapServers: brokertest.Start(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(admin.Close)
	all := []ACL{
		{Principal: "User:a", Host: "*", Resource: "GROUP", Name: "g", Operation: "READ"},
		{Principal: "User:a", Host: "*", Resource: "TOPIC", Name: "t", Operation: "DESCRIBE_CONFIGS"},
		{Principal: "User:a", Host: "*", Resource: "TOPIC", Name: "t", Operation: "WRITE", Deny: true},
		{Principal: "User:a", Host: "*", Resource: "TRANSACTIONAL_ID", Name: "a-", Prefixed: true, Operation: "WRITE"},
		{Principal: "User:b", Host: "10.0.0.1", Resource: "CLUSTER", Name: "kafka-cluster", Operation: "ALTER"},
	}
	for range 2 { // the second time changes nothing
		if err := admin.CreateACLs(t.Context(), all...); err != nil {
			t.Fatal(err)
		}
	}
	listed := func() []ACL {
		t.Helper()
		rights, err := admin.ACLs(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return rights
	}
	sameRights(t, listed(), all)
	for range 2 {
		if err := admin.DeleteACLs(t.Context(), all[1], all[3]); err != nil {
			t.Fatal(err)
		}
	}
	sameRights(t, listed(), []ACL{all[0], all[2], all[4]})
	if err := admin.CreateACLs(t.Context(), ACL{Principal: "User:a", Host: "*", Resource: "ANY", Name: "t", Operation: "READ"}); err == nil {
		t.Error("a right on anything was made")
	}
}

func sameRights(t *testing.T, got, want []ACL) {
	t.Helper()
	for _, a := range want {
		if !slices.Contains(got, a) {
			t.Errorf("%s is missing", a)
		}
	}
	if len(got) != len(want) {
		t.Error(cmp.Diff(want, got))
	}
}

// TestARefusedListIsNoEmptyList: librdkafka tells no error of a list, see ACLs.
func TestARefusedListIsNoEmptyList(t *testing.T) {
	for code, want := range map[int16]error{kerr.SecurityDisabled.Code: ErrNoAuthorizer, kerr.ClusterAuthorizationFailed.Code: ErrDenied} {
		b := brokertest.StartBroker(t, broker.Config{})
		b.Cluster().ControlKey(kmsg.DescribeACLs.Int16(), func(request kmsg.Request) (kmsg.Response, error, bool) {
			answer := request.ResponseKind().(*kmsg.DescribeACLsResponse)
			answer.ErrorCode = code
			return answer, nil, true
		})
		b.Cluster().ControlKey(kmsg.DeleteACLs.Int16(), func(request kmsg.Request) (kmsg.Response, error, bool) {
			answer := request.ResponseKind().(*kmsg.DeleteACLsResponse)
			answer.Results = []kmsg.DeleteACLsResponseResult{{ErrorCode: code}}
			return answer, nil, true
		})
		admin, err := NewAdmin(ClientConfig{BootstrapServers: b.Address()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(admin.Close)
		if rights, err := admin.ACLs(t.Context()); !errors.Is(err, want) {
			t.Errorf("%v, %v, want %v", rights, err, want)
		}
	}
}
