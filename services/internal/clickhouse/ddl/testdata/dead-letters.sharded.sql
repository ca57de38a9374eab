CREATE TABLE IF NOT EXISTS `default`.`dead_letters` ON CLUSTER `main`
(
    `status` Enum8('UNKNOWN' = 0, 'FAILED' = 1, 'REPLAYED' = 2, 'DISCARDED' = 3) COMMENT 'FAILED: waiting. REPLAYED: processed after all by the group. DISCARDED: given up by a person.',
    `group` LowCardinality(String) COMMENT 'The consumer group that failed.',
    `topic` LowCardinality(String) COMMENT 'The topic of the record.',
    `topic_id` UUID COMMENT 'Kafka\'s topic id, a UUID in network byte order.',
    `partition` Int32 COMMENT 'Partition of the record.',
    `offset` Int64 COMMENT 'Offset of the record.',
    `item` Int32 COMMENT 'Position in the record from 0; -1: the whole record.',
    `schema_id` Nullable(Int32) COMMENT 'The registry\'s id in the record\'s value, if it could be read.',
    `key` Nullable(String) COMMENT 'The record\'s key, untouched.' CODEC(ZSTD(3)),
    `value` Nullable(String) COMMENT 'The record\'s value, untouched; null for a tombstone, and where it is too large for a letter, which the error then says.' CODEC(ZSTD(3)),
    `headers` Array(Tuple(name String, value Nullable(String))) COMMENT 'The record\'s headers, in order.',
    `record_time` DateTime64(6, 'UTC') COMMENT 'The record\'s Kafka timestamp, UTC.' CODEC(Delta(8), LZ4),
    `error_class` LowCardinality(String) COMMENT 'Short and stable, for filters: bad-frame, bad-item, bad-value, not-wire, unknown-schema, too-large, rejected-row.',
    `error` String COMMENT 'The error with its values.',
    `failed_at` DateTime64(6, 'UTC') COMMENT 'When it failed, UTC.' CODEC(Delta(8), LZ4),
    `producer` LowCardinality(String) COMMENT 'The program that wrote this letter, name@version.',
    `resolved_at` Nullable(DateTime64(6, 'UTC')) COMMENT 'When it was replayed or discarded, UTC.' CODEC(Delta(8), LZ4),
    `resolution` Nullable(String) COMMENT 'Who resolved it and why, for a person.',
    `_topic_id` UUID COMMENT 'Kafka\'s id of the topic that the row was read from; a recreated topic has another.',
    `_partition` Int32 COMMENT 'Partition of the row\'s record.',
    `_offset` Int64 COMMENT 'Offset of the row\'s record.' CODEC(Delta(8), LZ4),
    `_schema_id` UInt32 COMMENT 'The registry\'s id of the schema that the record was written with.',
    INDEX offset_range (_partition, _offset) TYPE minmax GRANULARITY 1,
    PROJECTION offsets (SELECT _topic_id, _partition, count(), min(_offset), max(_offset) GROUP BY _topic_id, _partition),
    CONSTRAINT insert_deadline CHECK NOT startsWith(getSetting('insert_deduplication_token'), 'sf-') OR now() < toDateTime(toUInt32OrZero(splitByChar('-', getSetting('insert_deduplication_token'))[2]))
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}')
PARTITION BY (toYYYYMMDD(failed_at))
ORDER BY (group, topic, failed_at)
TTL toDateTime(`failed_at`) + INTERVAL 30 DAY
SETTINGS replicated_deduplication_window = 10000, lightweight_mutation_projection_mode = 'rebuild'
COMMENT 'Keeps what could not be processed, with where it came from and why it failed, until somebody replays or discards it.';

CREATE OR REPLACE TABLE `default`.`dead_letters_all` ON CLUSTER `main` AS `default`.`dead_letters`
ENGINE = Distributed('main', 'default', 'dead_letters', `_partition`)
COMMENT 'Keeps what could not be processed, with where it came from and why it failed, until somebody replays or discards it.'
