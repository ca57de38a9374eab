"""Uses Python's clickhouse-connect as its users do: argv is host:port and a database."""
import datetime
import sys

import clickhouse_connect

host, port = sys.argv[1].split(":")
client = clickhouse_connect.get_client(host=host, port=int(port), database=sys.argv[2])
client.command("CREATE TABLE t (n UInt64, s String, d Decimal(38, 18), at DateTime64(6, 'UTC')) ENGINE = MergeTree ORDER BY n")
now = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.timezone.utc)
rows = [[i, f"a\n\n{i}", "1.5", now] for i in range(5000)]
client.insert("t", rows, column_names=["n", "s", "d", "at"])
assert client.query("SELECT count(), sum(n) FROM t").result_rows == [(5000, 12497500)]
row = client.query("SELECT * FROM t WHERE n = {n:UInt64}", parameters={"n": 7}).result_rows[0]
assert row[1] == "a\n\n7" and str(row[2]).startswith("1.5"), row
assert row[3].microsecond == 678901, row
assert client.query("SELECT * FROM t WHERE n > 1000000").result_rows == []
assert client.command("SELECT {x:String}", parameters={"x": "it's\n\\ok"}) is not None
total = 0
with client.query_row_block_stream("SELECT number FROM numbers(300000)") as stream:
    for block in stream:
        total += len(block)
assert total == 300000, total
try:
    client.query("SELECT nothing FROM nowhere")
except clickhouse_connect.driver.exceptions.DatabaseError as error:
    assert "60" in str(error), error
else:
    raise AssertionError("a missing table was no error")
print("all good")
