CREATE TABLE IF NOT EXISTS `default`.`feed_gaps` ON CLUSTER `main`
(
    `venue` LowCardinality(String) COMMENT 'The venue.',
    `symbol` LowCardinality(String) COMMENT 'Canonical symbol.',
    `venue_symbol` LowCardinality(String) COMMENT 'The venue\'s own spelling of the symbol.',
    `feed` LowCardinality(String) COMMENT 'The loader\'s feed.',
    `channel` LowCardinality(String) COMMENT 'trades, book, or all.',
    `from_time` Nullable(DateTime64(6, 'UTC')) COMMENT 'Last moment known to be complete, UTC; null when unknown.' CODEC(Delta(8), LZ4),
    `to_time` Nullable(DateTime64(6, 'UTC')) COMMENT 'First moment that is complete again, UTC; null while it lasts.' CODEC(Delta(8), LZ4),
    `from_id` Nullable(String) COMMENT 'Last update or trade id before the hole; null where the venue has none.',
    `to_id` Nullable(String) COMMENT 'First update or trade id after the hole.',
    `missing` Nullable(Int64) COMMENT 'How many frames or ids are missing, if known.',
    `reason` Enum8('UNKNOWN' = 0, 'LOADER_RESTART' = 1, 'CONNECTION_LOST' = 2, 'BUFFER_FULL' = 3, 'FRAME_TOO_LARGE' = 4, 'SEQUENCE_GAP' = 5, 'ROTATION' = 6, 'SUBSCRIPTION_REFUSED' = 7, 'RESYNC' = 8, 'DEAD_LETTER' = 9) COMMENT 'Why.',
    `detail` String COMMENT 'The reason in words, for a person.',
    `received_at` DateTime64(6, 'UTC') COMMENT 'When the loader noticed, UTC.' CODEC(Delta(8), LZ4),
    `frame.topic_id` UUID COMMENT 'Kafka\'s topic id of raw-frames, a UUID in network byte order; a recreated topic has another.',
    `frame.partition` Int32 COMMENT 'Partition of raw-frames.',
    `frame.offset` Int64 COMMENT 'Offset in the partition.',
    `frame.item` Int32 COMMENT 'Position in the frame, from 0, for a frame that holds several records.',
    `_topic_id` UUID COMMENT 'Kafka\'s id of the topic that the row was read from; a recreated topic has another.',
    `_partition` Int32 COMMENT 'Partition of the row\'s record.',
    `_offset` Int64 COMMENT 'Offset of the row\'s record.' CODEC(Delta(8), LZ4),
    `_schema_id` UInt32 COMMENT 'The registry\'s id of the schema that the record was written with.',
    INDEX offset_range (_partition, _offset) TYPE minmax GRANULARITY 1,
    PROJECTION offsets (SELECT _topic_id, _partition, count(), min(_offset), max(_offset) GROUP BY _topic_id, _partition),
    CONSTRAINT insert_deadline CHECK NOT startsWith(getSetting('insert_deduplication_token'), 'sf-') OR now() < toDateTime(toUInt32OrZero(splitByChar('-', getSetting('insert_deduplication_token'))[2]))
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}')
PARTITION BY (toYYYYMMDD(received_at))
ORDER BY (venue, symbol, received_at)
TTL toDateTime(`received_at`) + INTERVAL 30 DAY
SETTINGS replicated_deduplication_window = 10000, lightweight_mutation_projection_mode = 'rebuild'
COMMENT 'Says what is missing of a symbol\'s data and why, so that nobody mistakes silence of a loader for silence of a market.';

CREATE OR REPLACE TABLE `default`.`feed_gaps_all` ON CLUSTER `main` AS `default`.`feed_gaps`
ENGINE = Distributed('main', 'default', 'feed_gaps', `_partition`)
COMMENT 'Says what is missing of a symbol\'s data and why, so that nobody mistakes silence of a loader for silence of a market.'
