package kafka

import "strings"

// consumerOptions are librdkafka's settings of a consumer, each with its reason.
func (c ClientConfig) consumerOptions(config ConsumerConfig) ([]option, error) {
	options, err := c.clientOptions()
	if err != nil {
		return nil, err
	}
	options = append(options,
		// librdkafka wants a name even for a manual assignment.
		option{"group.id", orDefault(config.Group, "streamforge-without-group")},
		// Positions are committed after the sink has acknowledged, never by a timer.
		option{"enable.auto.commit", "false"},
		option{"enable.auto.offset.store", "false"},
		// Topics are created from contracts and nowhere else.
		option{"allow.auto.create.topics", "false"},
		option{"auto.offset.reset", resetPolicy(config)},
		option{"isolation.level", isolation(config.ReadUncommitted)},
		option{"max.poll.interval.ms", itoa(config.MaxPollInterval.Milliseconds())},
		// The default of 1000 caps a group's consumer at about 180,000 records a second.
		option{"fetch.queue.backoff.ms", "10"},
		// The broker holds an empty fetch for this long; an answer comes at once when there is something.
		option{"fetch.wait.max.ms", "50"},
		// Latency before fuller answers.
		option{"fetch.min.bytes", "1"},
		// The default of 500 ms after an error would outlast most of them.
		option{"fetch.error.backoff.ms", "50"},
		// Bounds the memory of what was fetched ahead: bytes first, the number only as a guard of tiny records.
		option{"queued.max.messages.kbytes", itoa(config.QueuedMaxKBytes)},
		option{"queued.min.messages", "100000"},
		// A record larger than this still comes, alone; the default of 1 MiB a partition suits 64 partitions.
		option{"max.partition.fetch.bytes", itoa(1 << 20)},
		// One answer at most what may wait: an answer is compressed, and unpacked at once. A larger record comes all the same.
		option{"fetch.max.bytes", itoa(min(maxMessageBytes+1<<20, max(1<<20, config.QueuedMaxKBytes<<10)))},
		// One answer with the largest record and the protocol around it; too small stalls without a word.
		option{"receive.message.max.bytes", itoa(maxMessageBytes + 8<<20)},
		// A damaged record is to be an error, not data. The check costs little with the CPU's own instruction.
		option{"check.crcs", "true"},
	)
	if config.PartitionEnds {
		options = append(options, option{"enable.partition.eof", "true"})
	}
	if config.InstanceID != "" {
		options = append(options, option{"group.instance.id", config.InstanceID})
	}
	return append(options, c.groupOptions(config)...), nil
}

func (c ClientConfig) groupOptions(config ConsumerConfig) []option {
	if strings.EqualFold(c.GroupProtocol, "consumer") {
		// With the new protocol the broker decides the timeouts and the assignment; librdkafka refuses to be told.
		return []option{{"group.protocol", "consumer"}}
	}
	return []option{
		{"group.protocol", "classic"},
		// A rebalance moves only the partitions that must move; the others go on.
		{"partition.assignment.strategy", "cooperative-sticky"},
		{"session.timeout.ms", itoa(config.SessionTimeout.Milliseconds())},
		// Members hear of a rebalance with their next heartbeat: 3 s would make each of its rounds take 3 s.
		{"heartbeat.interval.ms", "500"},
	}
}

func resetPolicy(config ConsumerConfig) string {
	switch {
	case config.NoReset:
		return "error"
	case config.FromLatest:
		return "latest"
	}
	return "earliest"
}

func isolation(uncommitted bool) string {
	if uncommitted {
		return "read_uncommitted"
	}
	return "read_committed"
}

// producerOptions are librdkafka's settings of every producer, each with its reason.
func (c ClientConfig) producerOptions(lingerMs, queueBytes, messageBytes int) ([]option, error) {
	options, err := c.clientOptions()
	if err != nil {
		return nil, err
	}
	return append(options,
		// No duplicates and no reordering by the client's own retries; it implies acks=all and at most 5 in flight.
		option{"enable.idempotence", "true"},
		option{"acks", "all"},
		option{"max.in.flight.requests.per.connection", "5"},
		// Java's partitioner, so that topics of one key are co-partitioned whoever wrote them.
		option{"partitioner", "murmur2_random"},
		// The best ratio of CPU to bytes for text frames and small Avro records.
		option{"compression.codec", "lz4"},
		option{"linger.ms", itoa(lingerMs)},
		option{"message.max.bytes", itoa(messageBytes)},
		// The bound is bytes; the number is a guard of tiny records.
		option{"queue.buffering.max.kbytes", itoa(max(1, queueBytes>>10))},
		option{"queue.buffering.max.messages", "1000000"},
		// Several records of one partition fill an answer well before this; it keeps a batch below a topic's default
		// max.message.bytes of 1 MiB, except for a single record that is larger.
		option{"batch.size", "1000000"},
		// A topic that was created just now should not fail its first records.
		option{"topic.metadata.propagation.max.ms", "15000"},
	), nil
}
