CREATE TABLE IF NOT EXISTS `default`.`raw_trades` ON CLUSTER `main`
(
    `venue` LowCardinality(String) COMMENT 'The venue, for example binance or kraken.',
    `symbol` LowCardinality(String) COMMENT 'Canonical symbol: BTC-USDT spot, BTC-USDT-PERP perpetual, BTC-USDT-20261225 dated future.',
    `venue_symbol` LowCardinality(String) COMMENT 'The venue\'s own spelling of the symbol.',
    `trade_id` String COMMENT 'The venue\'s id of the trade; unique within venue and symbol.',
    `price` Decimal(38, 18) COMMENT 'Price in the quote currency, exact.',
    `quantity` Decimal(38, 18) COMMENT 'Quantity in the base currency (contracts where the venue trades in contracts), exact.',
    `taker_side` Enum8('UNKNOWN' = 0, 'BUY' = 1, 'SELL' = 2) COMMENT 'The side of the order that took liquidity.',
    `event_time` Nullable(DateTime64(6, 'UTC')) COMMENT 'The venue\'s time of the trade, UTC; null where the venue sends none.' CODEC(Delta(8), LZ4),
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
ORDER BY (venue, symbol, received_at, trade_id)
TTL toDateTime(`received_at`) + INTERVAL 30 DAY
SETTINGS replicated_deduplication_window = 10000, lightweight_mutation_projection_mode = 'rebuild'
COMMENT 'Every trade of every configured venue and symbol, once, exact to the last digit.';

CREATE OR REPLACE TABLE `default`.`raw_trades_all` ON CLUSTER `main` AS `default`.`raw_trades`
ENGINE = Distributed('main', 'default', 'raw_trades', `_partition`)
COMMENT 'Every trade of every configured venue and symbol, once, exact to the last digit.'
