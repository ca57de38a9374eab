package rdkafka

import "fmt"

// Code is librdkafka's number of an error: negative ones are its own, positive ones are the broker's.
type Code int

// The codes that the platform decides by.
const (
	LocalDestroy                       Code = -197
	LocalTransport                     Code = -195
	LocalResolve                       Code = -193
	LocalMsgTimedOut                   Code = -192
	LocalPartitionEOF                  Code = -191
	LocalUnknownPartition              Code = -190
	LocalUnknownTopic                  Code = -188
	LocalAllBrokersDown                Code = -187
	LocalTimedOut                      Code = -185
	LocalQueueFull                     Code = -184
	LocalNoOffset                      Code = -168
	LocalTimedOutQueue                 Code = -166
	LocalAuthentication                Code = -169
	LocalState                         Code = -172
	LocalPurgeQueue                    Code = -152
	LocalPurgeInflight                 Code = -151
	LocalFatal                         Code = -150
	LocalGaplessGuarantee              Code = -148
	LocalMaxPollExceeded               Code = -147
	LocalFenced                        Code = -144
	LocalAssignmentLost                Code = -142
	LocalAutoOffsetReset               Code = -140
	NoError                            Code = 0
	OffsetOutOfRange                   Code = 1
	UnknownTopicOrPartition            Code = 3
	LeaderNotAvailable                 Code = 5
	MsgSizeTooLarge                    Code = 10
	CoordinatorLoading                 Code = 14
	IllegalGeneration                  Code = 22
	UnknownMemberID                    Code = 25
	RebalanceInProgress                Code = 27
	TopicAuthorizationFailed           Code = 29
	GroupAuthorizationFailed           Code = 30
	ClusterAuthorizationFailed         Code = 31
	InvalidProducerEpoch               Code = 47
	InvalidTxnState                    Code = 48
	TransactionalIDAuthorizationFailed Code = 53
	SASLAuthenticationFailed           Code = 58
	FencedInstanceID                   Code = 82
	UnstableOffsetCommit               Code = 88
	ProducerFenced                     Code = 90
	FencedMemberEpoch                  Code = 110
	StaleMemberEpoch                   Code = 113
)

// Error is a failure that librdkafka or the broker told.
type Error struct {
	Code Code
	Text string
	// Fatal: the handle is unusable. Retriable: the same call may be made again. Abortable: the transaction must be
	// aborted, then may be done again.
	Fatal, Retriable, Abortable bool
}

func (e *Error) Error() string { return fmt.Sprintf("%s, code %d", e.Text, int(e.Code)) }
