"""Aggregated records read back."""

from hashlib import md5

from penstock.kinesis.v1.aggregated_record_pb2 import AggregatedRecord


def disaggregated(data: bytes) -> list[tuple[str, bytes]]:
    """Keys and data in an aggregated record."""
    magic, body, checksum = data[:4], data[4:-16], data[-16:]
    assert magic == bytes.fromhex("f3899ac2")
    assert checksum == md5(body).digest()
    whole = AggregatedRecord.FromString(body)
    return [(whole.partition_key_table[record.partition_key_index], record.data) for record in whole.records]
