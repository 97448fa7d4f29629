"""What the tracking service can be told."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field, FilePath, SecretStr

from services.runtime.settings import Port, ServiceSettings, settings_config
from services.tracking.browsers import SameSite
from services.tracking.group_commit import AckLevel
from services.tracking.intake import LATE_SECONDS
from services.tracking.privacy import IpAddresses
from services.tracking.redirects import is_host_pattern
from services.tracking.stream_records import PartitionKey

_MEBIBYTE = 1024 * 1024


class TrackingSettings(ServiceSettings):
    """Settings of `services.tracking`."""

    model_config = settings_config("PENSTOCK_TRACKING_")

    port: Port = Field(default=50053, description="Port of the gRPC API; 0 takes a free one.")
    metrics_port: Port = Field(default=51053, description="Port of Prometheus's GET /metrics; 0 switches it off.")
    http_port: Port = Field(default=8080, description="Port of the HTTP intake; 0 switches it off.")
    max_http_body_bytes: int = Field(default=4 * _MEBIBYTE, ge=1024, description="Largest HTTP body; larger: 413.")
    cors_origins: frozenset[str] = Field(
        default=frozenset(), description="Origins whose pages may send events and read answers; * for all."
    )
    redirect_hosts: frozenset[str] = Field(
        default=frozenset(), description="Hosts that /r/ sends visitors on to: shop.example, *.shop.example."
    )
    cookie_name: str = Field(
        default="", pattern="^[A-Za-z0-9_-]*$", description="Cookie that recognises visitors over HTTP; empty for none."
    )
    cookie_seconds: int = Field(default=365 * 86_400, ge=1, description="How long browsers keep the cookie.")
    cookie_same_site: SameSite = Field(
        default="Lax", description="Lax, Strict, or None for pages of other sites, which needs HTTPS."
    )
    https: bool = Field(default=False, description="Browsers come by HTTPS, through a proxy: cookies are Secure.")
    respect_do_not_track: bool = Field(
        default=True, description="Of visitors who send DNT or Sec-GPC neither cookie nor address is kept."
    )
    trusted_proxies: int = Field(
        default=0, ge=0, description="Proxies before the intake whose X-Forwarded-For is believed."
    )
    redis_url: SecretStr = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"),
        description="Redis or Valkey that holds the programs; rediss:// for TLS.",
    )
    redis_prefix: str = Field(default="penstock", min_length=1, description="Prefix of its keys and channels.")
    redis_timeout_seconds: float = Field(default=0.5, gt=0, description="After it Redis counts as away: UNVERIFIED.")
    cache_size: int = Field(default=100_000, ge=1, description="Programs kept in this process.")
    cache_seconds: float = Field(default=600.0, gt=0, description="How long a program is kept without asking again.")
    absent_cache_seconds: float = Field(default=5.0, gt=0, description="How long the absence of a program is kept.")
    dedup_window: int = Field(default=200_000, ge=1, description="Message ids remembered at least, to tell DUPLICATE.")
    ip_addresses: IpAddresses = Field(
        default=IpAddresses.ANONYMISED, description="What is kept of visitors' addresses: none, anonymised or full."
    )
    late_seconds: float = Field(
        default=LATE_SECONDS,
        gt=0,
        description="An event that occurred longer before it was received is marked as late.",
    )
    data_directory: Path = Field(
        default=Path(".penstock/tracking"), description="Folder of the log of accepted events; of one process alone."
    )
    ack_level: AckLevel = Field(
        default=AckLevel.DISK, description="What an event has survived when it is confirmed: memory, os or disk."
    )
    log_max_bytes: int = Field(
        default=1024 * _MEBIBYTE, ge=64 * 1024, description="Largest log; beyond it RESOURCE_EXHAUSTED and HTTP 503."
    )
    log_segment_bytes: int = Field(
        default=64 * _MEBIBYTE, ge=4096, description="Size of a segment; at most a quarter of the log is used."
    )
    log_min_free_bytes: int = Field(
        default=256 * _MEBIBYTE, ge=0, description="Bytes left free on the file system of the log."
    )
    ship_to: Literal["persistence", "kinesis"] = Field(
        default="persistence", description="Where accepted events go: the persistence service, or a Kinesis stream."
    )
    persistence_target: str = Field(
        default="127.0.0.1:50054", min_length=1, description="Address of the persistence service."
    )
    persistence_tls_ca: FilePath | None = Field(
        default=None, description="PEM authorities of its certificate; without it plain text."
    )
    ship_batch_events: int = Field(default=1000, ge=1, le=5000, description="Events in one call.")
    kinesis_stream: str = Field(default="", description="Name or ARN of the stream; required with SHIP_TO=kinesis.")
    kinesis_partition_key: PartitionKey = Field(
        default=PartitionKey.MESSAGE_ID,
        description="What keeps the order of events: message_id (nothing), cookie_id or program_id.",
    )
    kinesis_aggregated_keys: int = Field(
        default=0,
        ge=0,
        le=10_000,
        description="Events are aggregated (KPL format) under so many keys, several for each shard; 0: a record each.",
    )
    kinesis_max_record_bytes: int = Field(
        default=_MEBIBYTE, ge=1024, le=10 * _MEBIBYTE, description="Largest record, as the stream is configured."
    )
    kinesis_max_request_bytes: int = Field(
        default=5 * _MEBIBYTE, ge=1024, le=10 * _MEBIBYTE, description="Largest PutRecords request."
    )
    aws_region: str = Field(default="us-east-1", min_length=1, description="AWS region of Kinesis.")
    aws_endpoint_url: str | None = Field(
        default=None, description="URL to call instead of AWS: an emulator, a VPC endpoint."
    )

    @property
    def segment_bytes(self) -> int:
        """Bytes of a segment; shipped ones are deleted whole, so several have to fit into the log."""
        return min(self.log_segment_bytes, self.log_max_bytes // 4)

    def conflicts(self) -> Iterator[str]:
        """See the base class."""
        yield from super().conflicts()
        if not self.redis_url.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
            yield f"{self.variable('redis_url')} must begin with redis://, rediss:// or unix://"
        for host in sorted(self.redirect_hosts):
            if not is_host_pattern(host):
                yield f"{self.variable('redirect_hosts')}: {host!r} is no host such as shop.example or *.shop.example"
        if self.cookie_same_site == "None" and not (self.https or self.tls_cert):
            yield f"{self.variable('cookie_same_site')}=None needs {self.variable('https')}=true or TLS files"
        if self.ship_to == "kinesis" and not self.kinesis_stream:
            yield f"{self.variable('ship_to')}=kinesis needs {self.variable('kinesis_stream')}"
        if self.kinesis_max_record_bytes > self.kinesis_max_request_bytes:
            yield f"{self.variable('kinesis_max_record_bytes')} is above {self.variable('kinesis_max_request_bytes')}"
