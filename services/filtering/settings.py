"""What the filtering service can be told."""

from pathlib import Path

from pydantic import Field

from services.runtime.settings import ConfigClientSettings, Port, settings_config


class FilteringSettings(ConfigClientSettings):
    """Settings of `services.filtering`."""

    model_config = settings_config("PENSTOCK_FILTERING_")

    port: Port = Field(default=50052, description="Port of the gRPC API; 0 takes a free one.")
    metrics_port: Port = Field(default=51052, description="Port of Prometheus's GET /metrics; 0 switches it off.")
    snapshot: Path = Field(
        default=Path(".penstock/filtering/subscriptions.json"),
        description="File of the last known good subscriptions, for a start while the config service is away.",
    )
    max_subscriptions_per_topic: int = Field(
        default=200, ge=1, description="Subscriptions a topic may have, as Amazon SNS limits its filter policies."
    )
