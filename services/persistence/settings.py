"""What the persistence service can be told."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from services.runtime.settings import Port, ServiceSettings, settings_config


class PersistenceSettings(ServiceSettings):
    """Settings of `services.persistence`."""

    model_config = settings_config("PENSTOCK_PERSISTENCE_")

    port: Port = Field(default=50054, description="Port of the gRPC API; 0 takes a free one.")
    metrics_port: Port = Field(default=51054, description="Port of Prometheus's GET /metrics; 0 switches it off.")
    store: Literal["sqlite", "memory"] = Field(
        default="sqlite", description="Where events lie; memory loses them when the process ends."
    )
    database: Path = Field(
        default=Path(".penstock/persistence/events.sqlite3"), description="File of the SQLite store."
    )
    max_database_bytes: int = Field(
        default=0, ge=0, description="Largest size of that file, reached: RESOURCE_EXHAUSTED; 0 lets the disk decide."
    )
    max_waiting_events: int = Field(
        default=100_000, ge=1, description="Events that may wait for the disk, more: RESOURCE_EXHAUSTED."
    )
