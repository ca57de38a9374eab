CREATE TABLE IF NOT EXISTS `default`.`candles_1s_states` ON CLUSTER `main`
(
    `venue` LowCardinality(String) COMMENT 'The venue, for example binance or kraken.',
    `symbol` LowCardinality(String) COMMENT 'Canonical symbol: BTC-USDT spot, BTC-USDT-PERP perpetual, BTC-USDT-20261225 dated future.',
    `time` DateTime('UTC') COMMENT 'Begin of the interval, UTC.',
    `open` AggregateFunction(argMin, Decimal(38, 18), UInt256) COMMENT 'Price of the first trade, in the quote currency.',
    `high` SimpleAggregateFunction(max, Decimal(38, 18)) COMMENT 'Highest price.',
    `low` SimpleAggregateFunction(min, Decimal(38, 18)) COMMENT 'Lowest price.',
    `close` AggregateFunction(argMax, Decimal(38, 18), UInt256) COMMENT 'Price of the last trade.',
    `volume` SimpleAggregateFunction(sum, Decimal(76, 18)) COMMENT 'Quantity traded, in the base currency (contracts where the venue trades in contracts), exact.',
    `turnover` SimpleAggregateFunction(sum, Decimal(76, 36)) COMMENT 'Sum of price × quantity, exact.',
    `trades` SimpleAggregateFunction(sum, UInt64) COMMENT 'Number of trades.'
)
ENGINE = ReplicatedAggregatingMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}')
PARTITION BY (toYYYYMMDD(time))
ORDER BY (venue, symbol, time)
TTL toDateTime(`time`) + INTERVAL 30 DAY
SETTINGS replicated_deduplication_window = 10000
COMMENT 'Open, high, low, close, volume, turnover, volume-weighted average price and number of trades, by venue and symbol, by the venue\'s time. States of 1s; SELECT from candles_1s.';

CREATE OR REPLACE TABLE `default`.`candles_1s_states_all` ON CLUSTER `main` AS `default`.`candles_1s_states`
ENGINE = Distributed('main', 'default', 'candles_1s_states')
COMMENT 'Open, high, low, close, volume, turnover, volume-weighted average price and number of trades, by venue and symbol, by the venue\'s time. States of 1s; SELECT from candles_1s.';

CREATE MATERIALIZED VIEW IF NOT EXISTS `default`.`candles_1s_fill` ON CLUSTER `main` TO `default`.`candles_1s_states` AS
SELECT r.`venue` AS `venue`, r.`symbol` AS `symbol`, toDateTime(intDiv(toUnixTimestamp64Micro(ifNull(if(abs(toUnixTimestamp64Micro(r.`event_time`) - toUnixTimestamp64Micro(r.`received_at`)) <= 86400000000, r.`event_time`, NULL), r.`received_at`)), 1000000) * 1, 'UTC') AS time, argMinState(r.`price`, bitOr(bitShiftLeft(toUInt256(toUnixTimestamp64Micro(ifNull(if(abs(toUnixTimestamp64Micro(r.`event_time`) - toUnixTimestamp64Micro(r.`received_at`)) <= 86400000000, r.`event_time`, NULL), r.`received_at`))), 128), bitOr(bitShiftLeft(toUInt256(r.`frame.offset`), 64), toUInt256(r.`frame.item`)))) AS `open`, max(r.`price`) AS `high`, min(r.`price`) AS `low`, argMaxState(r.`price`, bitOr(bitShiftLeft(toUInt256(toUnixTimestamp64Micro(ifNull(if(abs(toUnixTimestamp64Micro(r.`event_time`) - toUnixTimestamp64Micro(r.`received_at`)) <= 86400000000, r.`event_time`, NULL), r.`received_at`))), 128), bitOr(bitShiftLeft(toUInt256(r.`frame.offset`), 64), toUInt256(r.`frame.item`)))) AS `close`, sum(toDecimal256(r.`quantity`, 18)) AS `volume`, sum(toDecimal256(r.`price`, 18) * r.`quantity`) AS `turnover`, count() AS `trades` FROM `default`.`raw_trades` AS r GROUP BY r.`venue`, r.`symbol`, toDateTime(intDiv(toUnixTimestamp64Micro(ifNull(if(abs(toUnixTimestamp64Micro(r.`event_time`) - toUnixTimestamp64Micro(r.`received_at`)) <= 86400000000, r.`event_time`, NULL), r.`received_at`)), 1000000) * 1, 'UTC');

-- candles_1s
SELECT s.`venue` AS `venue`, s.`symbol` AS `symbol`, s.time AS time, argMinMerge(s.`open`) AS `open`, CAST(max(s.`high`), 'Decimal(38, 18)') AS `high`, CAST(min(s.`low`), 'Decimal(38, 18)') AS `low`, argMaxMerge(s.`close`) AS `close`, CAST(sum(s.`volume`), 'Decimal(76, 18)') AS `volume`, CAST(sum(s.`turnover`), 'Decimal(76, 36)') AS `turnover`, if(CAST(sum(s.`volume`), 'Decimal(76, 18)') = 0, NULL, reinterpret(intDiv(reinterpretAsInt256(CAST(sum(s.`turnover`), 'Decimal(76, 36)')), if(CAST(sum(s.`volume`), 'Decimal(76, 18)') = 0, toInt256(1), reinterpretAsInt256(CAST(sum(s.`volume`), 'Decimal(76, 18)')))), 'Decimal(76, 18)')) AS `vwap`, CAST(sum(s.`trades`), 'UInt64') AS `trades` FROM `default`.`candles_1s_states_all` AS s GROUP BY s.`venue`, s.`symbol`, s.time;

CREATE TABLE IF NOT EXISTS `default`.`candles_1m_states` ON CLUSTER `main`
(
    `venue` LowCardinality(String) COMMENT 'The venue, for example binance or kraken.',
    `symbol` LowCardinality(String) COMMENT 'Canonical symbol: BTC-USDT spot, BTC-USDT-PERP perpetual, BTC-USDT-20261225 dated future.',
    `time` DateTime('UTC') COMMENT 'Begin of the interval, UTC.',
    `open` AggregateFunction(argMin, Decimal(38, 18), UInt256) COMMENT 'Price of the first trade, in the quote currency.',
    `high` SimpleAggregateFunction(max, Decimal(38, 18)) COMMENT 'Highest price.',
    `low` SimpleAggregateFunction(min, Decimal(38, 18)) COMMENT 'Lowest price.',
    `close` AggregateFunction(argMax, Decimal(38, 18), UInt256) COMMENT 'Price of the last trade.',
    `volume` SimpleAggregateFunction(sum, Decimal(76, 18)) COMMENT 'Quantity traded, in the base currency (contracts where the venue trades in contracts), exact.',
    `turnover` SimpleAggregateFunction(sum, Decimal(76, 36)) COMMENT 'Sum of price × quantity, exact.',
    `trades` SimpleAggregateFunction(sum, UInt64) COMMENT 'Number of trades.'
)
ENGINE = ReplicatedAggregatingMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}')
PARTITION BY (toYYYYMM(time))
ORDER BY (venue, symbol, time)
TTL toDateTime(`time`) + INTERVAL 730 DAY
SETTINGS replicated_deduplication_window = 10000
COMMENT 'Open, high, low, close, volume, turnover, volume-weighted average price and number of trades, by venue and symbol, by the venue\'s time. States of 1m; SELECT from candles_1m.';

CREATE OR REPLACE TABLE `default`.`candles_1m_states_all` ON CLUSTER `main` AS `default`.`candles_1m_states`
ENGINE = Distributed('main', 'default', 'candles_1m_states')
COMMENT 'Open, high, low, close, volume, turnover, volume-weighted average price and number of trades, by venue and symbol, by the venue\'s time. States of 1m; SELECT from candles_1m.';

CREATE MATERIALIZED VIEW IF NOT EXISTS `default`.`candles_1m_fill` ON CLUSTER `main` TO `default`.`candles_1m_states` AS
SELECT s.`venue` AS `venue`, s.`symbol` AS `symbol`, toDateTime(intDiv(toUnixTimestamp(s.time), 60) * 60, 'UTC') AS time, argMinMergeState(s.`open`) AS `open`, max(s.`high`) AS `high`, min(s.`low`) AS `low`, argMaxMergeState(s.`close`) AS `close`, sum(s.`volume`) AS `volume`, sum(s.`turnover`) AS `turnover`, sum(s.`trades`) AS `trades` FROM `default`.`candles_1s_states` AS s GROUP BY s.`venue`, s.`symbol`, toDateTime(intDiv(toUnixTimestamp(s.time), 60) * 60, 'UTC');

-- candles_1m
SELECT s.`venue` AS `venue`, s.`symbol` AS `symbol`, s.time AS time, argMinMerge(s.`open`) AS `open`, CAST(max(s.`high`), 'Decimal(38, 18)') AS `high`, CAST(min(s.`low`), 'Decimal(38, 18)') AS `low`, argMaxMerge(s.`close`) AS `close`, CAST(sum(s.`volume`), 'Decimal(76, 18)') AS `volume`, CAST(sum(s.`turnover`), 'Decimal(76, 36)') AS `turnover`, if(CAST(sum(s.`volume`), 'Decimal(76, 18)') = 0, NULL, reinterpret(intDiv(reinterpretAsInt256(CAST(sum(s.`turnover`), 'Decimal(76, 36)')), if(CAST(sum(s.`volume`), 'Decimal(76, 18)') = 0, toInt256(1), reinterpretAsInt256(CAST(sum(s.`volume`), 'Decimal(76, 18)')))), 'Decimal(76, 18)')) AS `vwap`, CAST(sum(s.`trades`), 'UInt64') AS `trades` FROM `default`.`candles_1m_states_all` AS s GROUP BY s.`venue`, s.`symbol`, s.time;

CREATE TABLE IF NOT EXISTS `default`.`candles_1h_states` ON CLUSTER `main`
(
    `venue` LowCardinality(String) COMMENT 'The venue, for example binance or kraken.',
    `symbol` LowCardinality(String) COMMENT 'Canonical symbol: BTC-USDT spot, BTC-USDT-PERP perpetual, BTC-USDT-20261225 dated future.',
    `time` DateTime('UTC') COMMENT 'Begin of the interval, UTC.',
    `open` AggregateFunction(argMin, Decimal(38, 18), UInt256) COMMENT 'Price of the first trade, in the quote currency.',
    `high` SimpleAggregateFunction(max, Decimal(38, 18)) COMMENT 'Highest price.',
    `low` SimpleAggregateFunction(min, Decimal(38, 18)) COMMENT 'Lowest price.',
    `close` AggregateFunction(argMax, Decimal(38, 18), UInt256) COMMENT 'Price of the last trade.',
    `volume` SimpleAggregateFunction(sum, Decimal(76, 18)) COMMENT 'Quantity traded, in the base currency (contracts where the venue trades in contracts), exact.',
    `turnover` SimpleAggregateFunction(sum, Decimal(76, 36)) COMMENT 'Sum of price × quantity, exact.',
    `trades` SimpleAggregateFunction(sum, UInt64) COMMENT 'Number of trades.'
)
ENGINE = ReplicatedAggregatingMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}')
PARTITION BY (toYYYYMM(time))
ORDER BY (venue, symbol, time)
TTL toDateTime(`time`) + INTERVAL 7300 DAY
SETTINGS replicated_deduplication_window = 10000
COMMENT 'Open, high, low, close, volume, turnover, volume-weighted average price and number of trades, by venue and symbol, by the venue\'s time. States of 1h; SELECT from candles_1h.';

CREATE OR REPLACE TABLE `default`.`candles_1h_states_all` ON CLUSTER `main` AS `default`.`candles_1h_states`
ENGINE = Distributed('main', 'default', 'candles_1h_states')
COMMENT 'Open, high, low, close, volume, turnover, volume-weighted average price and number of trades, by venue and symbol, by the venue\'s time. States of 1h; SELECT from candles_1h.';

CREATE MATERIALIZED VIEW IF NOT EXISTS `default`.`candles_1h_fill` ON CLUSTER `main` TO `default`.`candles_1h_states` AS
SELECT s.`venue` AS `venue`, s.`symbol` AS `symbol`, toDateTime(intDiv(toUnixTimestamp(s.time), 3600) * 3600, 'UTC') AS time, argMinMergeState(s.`open`) AS `open`, max(s.`high`) AS `high`, min(s.`low`) AS `low`, argMaxMergeState(s.`close`) AS `close`, sum(s.`volume`) AS `volume`, sum(s.`turnover`) AS `turnover`, sum(s.`trades`) AS `trades` FROM `default`.`candles_1m_states` AS s GROUP BY s.`venue`, s.`symbol`, toDateTime(intDiv(toUnixTimestamp(s.time), 3600) * 3600, 'UTC');

-- candles_1h
SELECT s.`venue` AS `venue`, s.`symbol` AS `symbol`, s.time AS time, argMinMerge(s.`open`) AS `open`, CAST(max(s.`high`), 'Decimal(38, 18)') AS `high`, CAST(min(s.`low`), 'Decimal(38, 18)') AS `low`, argMaxMerge(s.`close`) AS `close`, CAST(sum(s.`volume`), 'Decimal(76, 18)') AS `volume`, CAST(sum(s.`turnover`), 'Decimal(76, 36)') AS `turnover`, if(CAST(sum(s.`volume`), 'Decimal(76, 18)') = 0, NULL, reinterpret(intDiv(reinterpretAsInt256(CAST(sum(s.`turnover`), 'Decimal(76, 36)')), if(CAST(sum(s.`volume`), 'Decimal(76, 18)') = 0, toInt256(1), reinterpretAsInt256(CAST(sum(s.`volume`), 'Decimal(76, 18)')))), 'Decimal(76, 18)')) AS `vwap`, CAST(sum(s.`trades`), 'UInt64') AS `trades` FROM `default`.`candles_1h_states_all` AS s GROUP BY s.`venue`, s.`symbol`, s.time
