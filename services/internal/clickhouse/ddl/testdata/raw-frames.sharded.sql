CREATE TABLE IF NOT EXISTS `default`.`raw_frames` ON CLUSTER `main`
(
    `kind` Enum8('UNKNOWN' = 0, 'FRAME' = 1, 'REST_SNAPSHOT' = 2, 'GAP' = 3, 'OPEN' = 4, 'CLOSE' = 5) COMMENT 'FRAME: a WebSocket message. REST_SNAPSHOT: the body of a REST answer. GAP: something is missing, the payload (JSON) names symbols, counts and reason. OPEN, CLOSE: a connection began or ended. UNKNOWN: a kind that this reader is too old for.',
    `venue` LowCardinality(String) COMMENT 'The venue, for example binance or kraken.',
    `feed` LowCardinality(String) COMMENT 'The slot of the loader\'s configuration that received it: the unit of order.',
    `loader_epoch` Int64 COMMENT 'Grows with every start of the loader that owns the feed.',
    `connection` Int64 COMMENT 'The connection within the epoch, from 1; 0 for what belongs to no connection.',
    `sequence` Int64 COMMENT 'Position within feed and epoch, from 0, without holes.',
    `venue_symbol` LowCardinality(Nullable(String)) COMMENT 'The venue\'s symbol where the payload does not name it (a REST snapshot).',
    `request` Nullable(String) COMMENT 'What was asked where the payload depends on it: the REST path, or the subscribed depth of a book snapshot (depth=25).',
    `received_at` DateTime64(6, 'UTC') COMMENT 'When the loader received it, UTC.' CODEC(Delta(8), LZ4),
    `payload` String COMMENT 'The venue\'s bytes, untouched.' CODEC(ZSTD(3)),
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
ORDER BY (venue, feed, received_at, sequence)
TTL toDateTime(`received_at`) + INTERVAL 30 DAY
SETTINGS replicated_deduplication_window = 10000, lightweight_mutation_projection_mode = 'rebuild'
COMMENT 'Keeps every byte that a venue sent, in the order of its feed, so that any derived record can be made again and traced back.';

CREATE OR REPLACE TABLE `default`.`raw_frames_all` ON CLUSTER `main` AS `default`.`raw_frames`
ENGINE = Distributed('main', 'default', 'raw_frames', `_partition`)
COMMENT 'Keeps every byte that a venue sent, in the order of its feed, so that any derived record can be made again and traced back.'
