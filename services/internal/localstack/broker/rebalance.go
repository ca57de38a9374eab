package broker

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// boundRebalances has a rebalance of the classic protocol wait no longer than that for a member, whatever the members ask for. kfake
// (v0.0.0-20260918054303) starts no session timeout for a member whose connection is gone when its JoinGroup is answered, and begins the
// time that a rebalance may take anew with every member that joins: those that live ask again after their own timeout, seconds apart, and a
// group would wait for its dead for ever.
func (b *Broker) boundRebalances(most time.Duration) {
	bound := int32(most.Milliseconds())
	b.cluster.ControlKey(int16(kmsg.JoinGroup), func(request kmsg.Request) (kmsg.Response, error, bool) {
		if join, ok := request.(*kmsg.JoinGroupRequest); ok {
			join.RebalanceTimeoutMillis = min(join.RebalanceTimeoutMillis, bound)
		}
		return nil, nil, false // kfake answers it.
	})
}
