"""Reads raw-trades as its users do, with confluent-kafka, and prints one JSON line a trade.

argv: bootstrap servers, registry URL, how many trades. Every number that is printed as text is exact: a decimal never
becomes a float on the way.
"""
import datetime
import decimal
import json
import sys
import time
import uuid

from confluent_kafka import Consumer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

servers, registry, wanted = sys.argv[1], sys.argv[2], int(sys.argv[3])
deserialize = AvroDeserializer(SchemaRegistryClient({"url": registry}))
consumer = Consumer({
    "bootstrap.servers": servers,
    "group.id": "clients-python",
    "auto.offset.reset": "earliest",
    "enable.auto.commit": False,
    "isolation.level": "read_committed",
})
consumer.subscribe(["raw-trades"])
deadline = time.monotonic() + 60
seen = 0
while seen < wanted:
    if time.monotonic() > deadline:
        sys.exit(f"only {seen} trades within 60 s")
    message = consumer.poll(1.0)
    if message is None:
        continue
    if message.error():
        sys.exit(f"consumer: {message.error()}")
    trade = deserialize(message.value(), SerializationContext(message.topic(), MessageField.VALUE))
    for name, kind in {"venue": str, "symbol": str, "venue_symbol": str, "trade_id": str, "price": decimal.Decimal,
                       "quantity": decimal.Decimal, "taker_side": str, "received_at": datetime.datetime}.items():
        assert type(trade[name]) is kind, (name, type(trade[name]), trade)
    assert trade["event_time"] is None or trade["event_time"].tzinfo is not None, trade
    assert trade["taker_side"] in ("BUY", "SELL", "UNKNOWN"), trade
    assert message.key().decode() == trade["symbol"], (message.key(), trade)
    # The reference streamforge.market.FrameCoordinates was fetched and resolved by the client itself.
    frame = trade["frame"]
    topic_id = frame["topic_id"]
    if not isinstance(topic_id, uuid.UUID):
        topic_id = uuid.UUID(bytes=topic_id)
    print(json.dumps({
        "partition": message.partition(), "offset": message.offset(), "symbol": trade["symbol"], "trade_id": trade["trade_id"],
        "price": format(trade["price"], "f"), "quantity": format(trade["quantity"], "f"), "taker_side": trade["taker_side"],
        "received_at": trade["received_at"].astimezone(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f"),
        "topic_id": str(topic_id), "frame_partition": frame["partition"], "frame_offset": frame["offset"], "item": frame["item"],
    }))
    seen += 1
consumer.close()
