CREATE TABLE IF NOT EXISTS `default`.`raw_orderbooks` ON CLUSTER `main`
(
    `kind` Enum8('UNKNOWN' = 0, 'SNAPSHOT' = 1, 'UPDATE' = 2, 'GAP' = 3) COMMENT 'SNAPSHOT replaces the book. UPDATE sets absolute quantities (0 removes). GAP: the book is broken until the next snapshot.',
    `venue` LowCardinality(String) COMMENT 'The venue, for example binance or kraken.',
    `symbol` LowCardinality(String) COMMENT 'Canonical symbol.',
    `venue_symbol` LowCardinality(String) COMMENT 'The venue\'s own spelling of the symbol.',
    `first_update_id` Nullable(Int64) COMMENT 'The venue\'s first update id of this event (Binance U); null where the venue has none.',
    `last_update_id` Nullable(Int64) COMMENT 'The venue\'s last update id of this event (Binance u and lastUpdateId, OKX seqId, Bybit u).',
    `previous_update_id` Nullable(Int64) COMMENT 'The id that must have come before (Binance USD-M pu, OKX prevSeqId).',
    `checksum` Nullable(Int64) COMMENT 'The venue\'s checksum of the book after this event, unsigned 32 bits; null where there is none.',
    `depth` Nullable(Int32) COMMENT 'The subscribed depth: after each event the book is cut to it; null where the venue does not cut.',
    `price_scale` Int32 COMMENT 'Digits after the point of the prices as sent.',
    `quantity_scale` Int32 COMMENT 'Digits after the point of the quantities as sent.',
    `bids` Array(Tuple(price Decimal(38, 18), quantity Decimal(38, 18))) COMMENT 'Bid levels in the venue\'s order.',
    `asks` Array(Tuple(price Decimal(38, 18), quantity Decimal(38, 18))) COMMENT 'Ask levels in the venue\'s order.',
    `gap_reason` LowCardinality(Nullable(String)) COMMENT 'Why something is missing, when kind is GAP.',
    `event_time` Nullable(DateTime64(6, 'UTC')) COMMENT 'The venue\'s time, UTC; null where the venue sends none.' CODEC(Delta(8), LZ4),
    `received_at` DateTime64(6, 'UTC') COMMENT 'When the loader received the frame, UTC.' CODEC(Delta(8), LZ4),
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
COMMENT 'Everything that is needed to rebuild a venue\'s order book, its checksum included, from this topic alone.';

CREATE OR REPLACE TABLE `default`.`raw_orderbooks_all` ON CLUSTER `main` AS `default`.`raw_orderbooks`
ENGINE = Distributed('main', 'default', 'raw_orderbooks', `_partition`)
COMMENT 'Everything that is needed to rebuild a venue\'s order book, its checksum included, from this topic alone.'
