package kafka

import (
	"errors"
	"fmt"

	"github.com/streamforge/streamforge/services/internal/kafka/rdkafka"
)

// Errors to ask for with errors.Is. What is returned wraps them with its values and the next step.
var (
	// ErrFenced: this member or producer was replaced. Abandon the work and read Committed again.
	ErrFenced = errors.New("fenced")
	// ErrRebalance: the group is rebalancing. Poll, then try again.
	ErrRebalance = errors.New("the group is rebalancing")
	// ErrQueueFull: the producer's bounded queue is full. Wait for deliveries, then try again.
	ErrQueueFull = errors.New("the producer's queue is full")
	// ErrUnknownTopic: the cluster has no such topic.
	ErrUnknownTopic = errors.New("unknown topic")
	// ErrUnreachable: no broker answers.
	ErrUnreachable = errors.New("broker unreachable")
	// ErrNoOffset: the group has no committed offset for a partition (or it is out of range), and NoReset forbids to guess.
	ErrNoOffset = errors.New("no valid offset")
	// ErrTooLarge: a record is larger than the client or the topic allows.
	ErrTooLarge = errors.New("record too large")
	// ErrDenied: the credentials are wrong or lack a right.
	ErrDenied = errors.New("access denied")
	// ErrClosed: the client was closed.
	ErrClosed = errors.New("closed")
	// ErrFatal: the client behind this call is unusable and is being made anew.
	ErrFatal = errors.New("fatal client error")
)

// classify gives an error of librdkafka its sentinel, if it has one.
func classify(code rdkafka.Code) error {
	switch code {
	case rdkafka.UnknownMemberID, rdkafka.IllegalGeneration, rdkafka.FencedMemberEpoch, rdkafka.FencedInstanceID,
		rdkafka.LocalFenced, rdkafka.StaleMemberEpoch, rdkafka.ProducerFenced, rdkafka.InvalidProducerEpoch, rdkafka.LocalAssignmentLost:
		return ErrFenced
	case rdkafka.RebalanceInProgress:
		return ErrRebalance
	case rdkafka.LocalQueueFull:
		return ErrQueueFull
	case rdkafka.UnknownTopicOrPartition, rdkafka.LocalUnknownTopic, rdkafka.LocalUnknownPartition:
		return ErrUnknownTopic
	case rdkafka.LocalTransport, rdkafka.LocalAllBrokersDown, rdkafka.LocalResolve, rdkafka.LocalTimedOut, rdkafka.LocalTimedOutQueue:
		return ErrUnreachable
	case rdkafka.LocalAutoOffsetReset, rdkafka.LocalNoOffset, rdkafka.OffsetOutOfRange:
		return ErrNoOffset
	case rdkafka.MsgSizeTooLarge:
		return ErrTooLarge
	case rdkafka.LocalAuthentication, rdkafka.SASLAuthenticationFailed, rdkafka.TopicAuthorizationFailed,
		rdkafka.GroupAuthorizationFailed, rdkafka.ClusterAuthorizationFailed, rdkafka.TransactionalIDAuthorizationFailed:
		return ErrDenied
	case rdkafka.LocalFatal:
		return ErrFatal
	}
	return nil
}

// What brokers answer when they cannot write to their disk: the embedded one the first, Kafka the second.
const (
	unknownServerError rdkafka.Code = -1
	storageError       rdkafka.Code = 56
)

// wrap makes one line of what failed, librdkafka's words, the remedy and the sentinel.
func wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	var low *rdkafka.Error
	if !errors.As(err, &low) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	kind := classify(low.Code)
	if kind == nil && (low.Code == unknownServerError || low.Code == storageError) {
		return fmt.Errorf("%s: %w; the broker could not do it: see its log, and whether its disk is full", doing, err)
	}
	if kind == nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return &clientError{doing: doing, kind: kind, low: low}
}

// clientError is an error of librdkafka with its sentinel. It unwraps to both.
type clientError struct {
	doing string
	kind  error
	low   *rdkafka.Error
}

func (e *clientError) Error() string {
	text := e.doing + ": " + e.kind.Error() + " (" + e.low.Error() + ")"
	if next := remedy(e.kind); next != "" {
		text += "; " + next
	}
	return text
}

func (e *clientError) Unwrap() []error { return []error{e.kind, e.low} }

// remedy is the next step that a person can take.
func remedy(kind error) string {
	switch kind {
	case ErrUnknownTopic:
		return "create it from its contract with `streamforge apply`"
	case ErrUnreachable:
		return "check that the broker runs, that KAFKA_BOOTSTRAP_SERVERS names it, and that it takes KAFKA_SECURITY_PROTOCOL with its settings"
	case ErrDenied:
		return "check KAFKA_SECURITY_PROTOCOL, KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD and the user's ACLs"
	case ErrTooLarge:
		return "raise the topic's max.message.bytes in its contract, or send less"
	}
	return ""
}

// Code is librdkafka's number of an error (negative: its own; positive: the broker's); 0 when err is none of its errors.
func Code(err error) int {
	var low *rdkafka.Error
	if errors.As(err, &low) {
		return int(low.Code)
	}
	return 0
}
