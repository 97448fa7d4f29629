"""Aggregated records read back by the message definition of the Kinesis Producer Library, not by our own code."""

from hashlib import md5
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory


def _definition() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="kpl.proto", package="kpl", syntax="proto2")
    kind = descriptor_pb2.FieldDescriptorProto
    record = file.message_type.add(name="Record")
    record.field.add(name="partition_key_index", number=1, type=kind.TYPE_UINT64, label=kind.LABEL_REQUIRED)
    record.field.add(name="explicit_hash_key_index", number=2, type=kind.TYPE_UINT64, label=kind.LABEL_OPTIONAL)
    record.field.add(name="data", number=3, type=kind.TYPE_BYTES, label=kind.LABEL_REQUIRED)
    whole = file.message_type.add(name="AggregatedRecord")
    whole.field.add(name="partition_key_table", number=1, type=kind.TYPE_STRING, label=kind.LABEL_REPEATED)
    whole.field.add(name="explicit_hash_key_table", number=2, type=kind.TYPE_STRING, label=kind.LABEL_REPEATED)
    whole.field.add(
        name="records", number=3, type=kind.TYPE_MESSAGE, label=kind.LABEL_REPEATED, type_name=".kpl.Record"
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("kpl.AggregatedRecord"))


_AGGREGATED_RECORD = _definition()


def disaggregated(data: bytes) -> list[tuple[str, bytes]]:
    """Keys and data in an aggregated record."""
    magic, body, checksum = data[:4], data[4:-16], data[-16:]
    assert magic == bytes.fromhex("f3899ac2")
    assert checksum == md5(body).digest()
    whole = _AGGREGATED_RECORD.FromString(body)
    return [(whole.partition_key_table[record.partition_key_index], record.data) for record in whole.records]
