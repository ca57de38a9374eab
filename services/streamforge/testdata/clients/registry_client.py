"""Uses the schema registry with confluent-kafka's own client, as a team's tools would.

argv: the registry's URL, and "confluent" or "apicurio": whose answers are expected. What Apicurio does otherwise is
marked where it is left out.
"""
import decimal
import json
import sys
import uuid

from confluent_kafka.schema_registry import ConfigCompatibilityLevel, Schema, SchemaReference, SchemaRegistryClient, ServerConfig
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext

url, apicurio = sys.argv[1], sys.argv[2] == "apicurio"
client = SchemaRegistryClient({"url": url})


def refused(code, call, *arguments, **named):
    """The call must be refused with this HTTP status or Confluent error code."""
    try:
        call(*arguments, **named)
    except SchemaRegistryError as error:
        assert code in (error.error_code, error.http_status_code), (error.http_status_code, error.error_code, str(error))
        return
    raise AssertionError(f"{call.__name__}{arguments} was not refused with {code}")


# What the platform registered.
subjects = client.get_subjects()
for subject in ("raw-frames-value", "raw-trades-value", "raw-orderbooks-value", "feed-gaps-value", "dead-letters-value", "streamforge.market.PriceLevel"):
    assert subject in subjects, (subject, subjects)
assert client.get_versions("raw-trades-value") == [1], client.get_versions("raw-trades-value")
registered = client.get_version("raw-trades-value", 1)
assert client.get_latest_version("raw-trades-value").schema_id == registered.schema_id
assert client.get_schema(registered.schema_id).schema_str == registered.schema.schema_str
assert json.loads(registered.schema.schema_str)["name"] == "RawTrade"
assert [(r.name, r.subject, r.version) for r in registered.schema.references] == [
    ("streamforge.market.FrameCoordinates", "streamforge.market.FrameCoordinates", 1)], registered.schema.references
found = client.lookup_schema("raw-trades-value", registered.schema)
assert (found.schema_id, found.version, found.subject) == (registered.schema_id, 1, "raw-trades-value"), found

# Compatibility and versions, in a scratch subject.
topic = f"clients-scratch-{uuid.uuid4().hex[:8]}"
subject, kind = f"{topic}-value", "streamforge.market.PriceLevel"
note = {"name": "note", "type": "string", "default": ""}
count = {"name": "count", "type": "long"}  # without a default: old records cannot be read
# Apicurio cannot check the compatibility of a schema with references (42201), so there the scratch subject has none.
best = {"name": "best", "type": "string" if apicurio else kind}
references = [] if apicurio else [SchemaReference(kind, kind, 1)]


def record(*fields):
    return Schema(json.dumps({"type": "record", "name": "Scratch", "namespace": "streamforge.scratch", "fields": list(fields)}), "AVRO", references)


refused(40401, client.get_versions, subject)
first = client.register_schema(subject, record(best))
assert client.register_schema(subject, record(best)) == first, "registering the same again must give the same id"
client.set_config(subject, ServerConfig(compatibility=ConfigCompatibilityLevel.BACKWARD))
assert client.get_compatibility(subject) == "BACKWARD"
assert client.get_config(subject).compatibility_level.value == "BACKWARD", client.get_config(subject).to_dict()
assert client.test_compatibility(subject, record(best, note))
assert not client.test_compatibility(subject, record(best, count))
assert client.test_compatibility_all_versions(subject, record(best, note))
assert not client.test_compatibility_all_versions(subject, record(best, count))
refused(409, client.register_schema, subject, record(best, count))
second = client.register_schema(subject, record(best, note))
assert second != first and client.get_versions(subject) == [1, 2]
refused(42201, client.register_schema, subject, Schema('{"type": "nonsense"}', "AVRO"))
refused(40403, client.lookup_schema, subject, record(best, count))
refused(40402, client.get_version, subject, 9)
client.set_compatibility(subject_name=subject, level="NONE")
client.register_schema(subject, record(best, count))
assert client.get_versions(subject) == [1, 2, 3]
assert client.get_compatibility()  # the global level
assert "AVRO" in client.get_schema_types()
assert (subject, 2) in [(v.subject, v.version) for v in client.get_schema_versions(second)]
if not apicurio:  # it has no modes, and its own ways with the two questions before them
    assert subject in client.get_subjects_by_schema_id(second)
    assert first in client.get_referenced_by(kind, 1)
    client.delete_config(subject)
    refused(40408, client.get_compatibility, subject)
    assert client.get_global_mode() == "READWRITE"
    refused(40409, client.get_mode, subject)
    client.update_mode(subject, "READONLY")
    assert client.get_mode(subject) == "READONLY"
    refused(42205, client.register_schema, subject, record(best, note, {"name": "more", "type": "string", "default": ""}))
    client.delete_mode(subject)
    # Apicurio takes a subject whose latest version was deleted for deleted itself.
    assert client.delete_version(subject, 3) == 3
    assert client.get_versions(subject) == [1, 2]

# What is serialized with a reference is read back by a client that knows nothing yet.
topic = topic + "-quotes"
quotes = Schema(json.dumps({"type": "record", "name": "Quote", "namespace": "streamforge.scratch", "fields": [{"name": "best", "type": kind}]}),
                "AVRO", [SchemaReference(kind, kind, 1)])
identity = client.register_schema(f"{topic}-value", quotes)
context = SerializationContext(topic, MessageField.VALUE)
serialize = AvroSerializer(client, quotes, conf={"auto.register.schemas": False})
quote = {"best": {"price": decimal.Decimal("1.000000000000000001"), "quantity": decimal.Decimal("-0.5")}}
wire = serialize(quote, context)
assert wire[0] == 0 and int.from_bytes(wire[1:5], "big") == identity, wire
read = AvroDeserializer(SchemaRegistryClient({"url": url}))(wire, context)
assert read == quote, read

# Away with it, softly and for good; what others refer to stays.
refused(422, client.delete_subject, kind)
for name in (subject, f"{topic}-value"):
    client.delete_subject(name)
    assert name not in client.get_subjects()
    refused(40401, client.get_versions, name)
    client.delete_subject(name, permanent=True)
print("all good")
