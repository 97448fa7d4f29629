"""What the config service can be told."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field, FilePath

from services.runtime.settings import Port, ServiceSettings, is_loopback, settings_config


class ConfigSettings(ServiceSettings):
    """Settings of `services.config`."""

    model_config = settings_config("PENSTOCK_CONFIG_")

    port: Port = Field(default=50051, description="Port of the gRPC API; 0 takes a free one.")
    metrics_port: Port = Field(default=51051, description="Port of Prometheus's GET /metrics; 0 switches it off.")
    store: Literal["sqlite", "dynamodb", "memory"] = Field(
        default="sqlite",
        description="Where parameters lie: sqlite for one process, dynamodb for several replicas; memory loses them.",
    )
    dynamodb_table: str = Field(default="penstock-parameters", min_length=3, description="Table of the DynamoDB store.")
    create_table: bool = Field(default=False, description="Makes the DynamoDB table where there is none.")
    database: Path = Field(default=Path(".penstock/config/parameters.sqlite3"), description="File of the SQLite store.")
    key_file: Path = Field(
        default=Path(".penstock/config/secret.key"),
        description="File of the key that encrypts SecureStrings, made at the first start. Back it up apart from them.",
    )
    kms_key: str = Field(
        default="", description="Id, ARN or alias of the AWS KMS key that wraps data keys; empty: the key file does."
    )
    aws_endpoint_url: str | None = Field(default=None, description="Where KMS and DynamoDB are called instead of AWS.")
    region: str = Field(default="us-east-1", min_length=1, description="Region of KMS, DynamoDB and in ARNs.")
    account_id: str = Field(default="000000000000", pattern=r"^[0-9]{12}$", description="Account in ARNs.")
    access_file: FilePath | None = Field(
        default=None, description="TOML file of principals and rules; without it everybody who connects may do all."
    )
    open_access: bool = Field(
        default=False, description="Allows serving beyond loopback without an access file: everybody may do all."
    )
    audit_log: Path | None = Field(
        default=None,
        description="File of the audit log; by default audit.log beside the database where there is an access file.",
    )
    audit_megabytes: int = Field(
        default=100, ge=1, description="MiB at which a file of the audit log is put aside and the next one begun."
    )
    ssm_port: Port = Field(
        default=0, description="Port of the HTTP endpoint that speaks AWS's SSM protocol, by custom 8081; 0 is none."
    )
    kept_revisions: int = Field(
        default=10_000, ge=1, description="Newest changes that a watcher can resume over; before them: COMPACTED."
    )
    bookmark_seconds: float = Field(
        default=10.0, gt=0, description="A watch without changes for so long gets a bookmark, if revisions moved on."
    )
    pattern_seconds: float = Field(
        default=0.5, gt=0, description="Processor time that matching a value with its allowed pattern may take."
    )

    @property
    def arn_prefix(self) -> str:
        """What stands before the name in the ARN of a parameter."""
        return f"arn:aws:ssm:{self.region}:{self.account_id}:parameter"

    @property
    def audit_file(self) -> Path | None:
        """Where the audit log lies; None when none is kept."""
        if self.audit_log is None and self.access_file is not None:
            return self.database.with_name("audit.log")
        return self.audit_log

    def conflicts(self) -> Iterator[str]:
        """See the base class."""
        yield from super().conflicts()
        if not (is_loopback(self.host) or self.access_file or self.open_access):
            yield (
                f"{self.variable('host')}={self.host!r} is not a loopback address: set {self.variable('access_file')}, "
                f"or let everybody in with {self.variable('open_access')}=true"
            )
