"""What the filtering service can be told: `PENSTOCK_FILTERING_<FIELD>`."""

from pathlib import Path

from pydantic import Field

from services.runtime.settings import ServiceSettings, settings_config


class FilteringSettings(ServiceSettings):
    """Settings of the filtering service."""

    model_config = settings_config("PENSTOCK_FILTERING_")

    port: int = Field(default=50052, ge=0, le=65535, description="Port of the gRPC API; 0 takes a free one.")
    snapshot: Path | None = Field(
        default=None,
        description="File of the last known good subscriptions, for a start without the config service; unset: none.",
    )
    max_subscriptions_per_topic: int = Field(
        default=200, ge=1, description="Subscriptions a topic may have, as Amazon SNS limits its filter policies."
    )
