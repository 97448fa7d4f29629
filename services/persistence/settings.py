"""What the persistence service can be told."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, FilePath, SecretStr

from services.runtime.settings import Port, ServiceSettings, settings_config

_SECONDS_PER_DAY = 86_400


class PersistenceSettings(ServiceSettings):
    """Settings of `services.persistence`."""

    model_config = settings_config("PENSTOCK_PERSISTENCE_")

    port: Port = Field(default=50054, description="Port of the gRPC API; 0 takes a free one.")
    metrics_port: Port = Field(default=51054, description="Port of Prometheus's GET /metrics; 0 switches it off.")
    store: Literal["sqlite", "dynamodb", "cassandra", "memory"] = Field(
        default="sqlite", description="Where events lie; memory loses them when the process ends."
    )
    retention_days: float = Field(
        default=0, ge=0, description="Days after which an event is gone, counted from when it occurred; 0 keeps all."
    )
    create_tables: bool = Field(
        default=False, description="Make or migrate the tables of DynamoDB or Cassandra; for one process at a time."
    )
    database: Path = Field(
        default=Path(".penstock/persistence/events.sqlite3"),
        description="File of the SQLite store; conversions lie beside it.",
    )
    max_database_bytes: int = Field(
        default=0, ge=0, description="Largest size of that file, reached: RESOURCE_EXHAUSTED; 0 lets the disk decide."
    )
    max_waiting_events: int = Field(
        default=100_000, ge=1, description="Events that may wait for the disk, more: RESOURCE_EXHAUSTED."
    )
    aws_region: str = Field(default="us-east-1", min_length=1, description="AWS region of DynamoDB and Kinesis.")
    aws_endpoint_url: str | None = Field(
        default=None,
        pattern="^https?://",
        description="Where DynamoDB and Kinesis are called instead of AWS: an emulator, a VPC endpoint.",
    )
    kinesis_stream: str = Field(
        default="",
        description="Stream whose events this process stores; empty reads none. A Lambda function needs none.",
    )
    kinesis_checkpoint_table: str = Field(
        default="penstock-checkpoints", min_length=3, description="DynamoDB table of what has been read of the stream."
    )
    failure_queue_url: str = Field(
        default="", description="SQS queue for records that are no events; needed to read a stream."
    )
    dynamodb_table: str = Field(default="penstock-events", min_length=3, description="Table of the DynamoDB store.")
    dynamodb_conversions_table: str = Field(
        default="penstock-conversions", min_length=3, description="Table of what matching finds."
    )
    cassandra_contact_points: tuple[str, ...] = Field(
        default=("127.0.0.1",), min_length=1, description="Nodes of the local datacentre, any of them."
    )
    cassandra_port: Port = Field(default=9042, ge=1, description="Their port for CQL.")
    cassandra_datacentre: str = Field(
        default="datacenter1", min_length=1, description="The local datacentre: all calls go to its nodes."
    )
    cassandra_keyspace: str = Field(default="penstock", pattern="^[a-z][a-z0-9_]{0,47}$", description="Keyspace.")
    cassandra_replication: Mapping[str, int] = Field(
        default={},
        description="Replicas by datacentre for a keyspace that is made, as JSON; empty: 3 in the local one.",
    )
    cassandra_user: str = Field(default="", description="User; empty logs in as nobody.")
    cassandra_password: SecretStr = Field(default=SecretStr(""), description="Password of the user.")
    cassandra_tls_ca: FilePath | None = Field(
        default=None, description="PEM authorities of the nodes' certificates; without it plain text."
    )
    cassandra_tls_cert: FilePath | None = Field(default=None, description="PEM certificate shown to the nodes.")
    cassandra_tls_key: FilePath | None = Field(default=None, description="PEM key of that certificate.")
    cassandra_timeout_seconds: float = Field(
        default=10.0, gt=0, description="Granted to connect and to each statement."
    )

    @property
    def retention_seconds(self) -> float | None:
        return self.retention_days * _SECONDS_PER_DAY or None

    def conflicts(self) -> Iterator[str]:
        """See the base class."""
        yield from super().conflicts()
        if bool(self.cassandra_tls_cert) != bool(self.cassandra_tls_key):
            yield f"{self.variable('cassandra_tls_cert')} and {self.variable('cassandra_tls_key')} belong together"
        if self.cassandra_tls_cert and not self.cassandra_tls_ca:
            yield f"{self.variable('cassandra_tls_cert')} needs {self.variable('cassandra_tls_ca')}"
        if self.kinesis_stream and not self.failure_queue_url:
            yield f"{self.variable('kinesis_stream')} needs {self.variable('failure_queue_url')}"
        replication = self.cassandra_replication
        if replication and self.cassandra_datacentre not in replication:
            yield (
                f"{self.variable('cassandra_replication')} has no replicas in the local datacentre "
                f"{self.cassandra_datacentre!r} ({self.variable('cassandra_datacentre')})"
            )
