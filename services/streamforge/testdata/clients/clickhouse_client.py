"""Queries ClickHouse with clickhouse-connect, as a data scientist does.

argv: its URL. stdin: trades, one JSON line each, as read_trades.py read them from Kafka, then the trace query of the
README on a line of its own that begins with "trace:" (its line ends as spaces).
"""
import datetime
import decimal
import json
import sys
import time

import clickhouse_connect

client = clickhouse_connect.get_client(dsn=sys.argv[1])
lines = sys.stdin.read().splitlines()
trades = [json.loads(line) for line in lines if not line.startswith("trace:")]
trace = next(line.removeprefix("trace:") for line in lines if line.startswith("trace:"))
assert trades

# Every trade that Kafka holds becomes a row, exact to the last digit. A row may be some 100 ms younger than its record.
select = """SELECT symbol, trade_id, price, quantity, taker_side, received_at, frame.topic_id, frame.partition, frame.offset, frame.item
    FROM raw_trades WHERE _partition = {partition:Int32} AND _offset = {offset:Int64}"""
for trade in trades:
    deadline = time.monotonic() + 60
    while not (rows := client.query(select, parameters={"partition": trade["partition"], "offset": trade["offset"]}).result_rows):
        assert time.monotonic() < deadline, f"no row of {trade} within 60 s"
        time.sleep(0.1)
    symbol, trade_id, price, quantity, side, received, topic_id, partition, offset, item = rows[0]
    assert type(price) is decimal.Decimal and price == decimal.Decimal(trade["price"]), (rows[0], trade)
    assert quantity == decimal.Decimal(trade["quantity"]), (rows[0], trade)
    assert (symbol, trade_id, side, str(topic_id), partition, offset, item) == (
        trade["symbol"], trade["trade_id"], trade["taker_side"], trade["topic_id"], trade["frame_partition"], trade["frame_offset"], trade["item"]), (rows[0], trade)
    assert isinstance(received, datetime.datetime) and received.strftime("%Y-%m-%d %H:%M:%S.%f") == trade["received_at"], (rows[0], trade)

# Counts, sums of decimals, streams, and an error that is one.
count = client.query("SELECT count() FROM raw_trades").first_row[0]
assert count >= len(trades), count
# The product of two Decimal(38, 18) needs more digits than 38: ClickHouse asks its users to widen one of them.
total = client.query("SELECT sum(toDecimal256(price, 18) * quantity), max(price) FROM raw_trades").first_row
assert all(type(value) is decimal.Decimal and value > 0 for value in total), total
with client.query_row_block_stream("SELECT * FROM raw_orderbooks LIMIT 2000") as stream:
    assert sum(len(block) for block in stream) > 0
assert isinstance(client.query("SELECT bids FROM raw_orderbooks WHERE notEmpty(bids) LIMIT 1").first_row[0], list)
try:
    client.query("SELECT nothing FROM nowhere")
except clickhouse_connect.driver.exceptions.DatabaseError as error:
    assert "60" in str(error), error
else:
    raise AssertionError("a missing table was no error")

# The row leads back to the venue's own bytes.
(payload,) = client.query(trace).first_row
payload = payload if isinstance(payload, bytes) else payload.encode()
assert json.loads(payload), payload
print("all good")
