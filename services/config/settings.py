"""What the config service can be told."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from services.runtime.settings import Port, ServiceSettings, settings_config


class ConfigSettings(ServiceSettings):
    """Settings of `services.config`."""

    model_config = settings_config("PENSTOCK_CONFIG_")

    port: Port = Field(default=50051, description="Port of the gRPC API; 0 takes a free one.")
    metrics_port: Port = Field(default=51051, description="Port of Prometheus's GET /metrics; 0 switches it off.")
    store: Literal["sqlite", "memory"] = Field(
        default="sqlite", description="Where parameters lie; memory loses them when the process ends."
    )
    database: Path = Field(default=Path(".penstock/config/parameters.sqlite3"), description="File of the SQLite store.")
    key_file: Path = Field(
        default=Path(".penstock/config/secret.key"),
        description="File of the key that encrypts SecureStrings, made at the first start. Back it up apart from them.",
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
