"""What the filtering service can be told."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import Field

from services.filtering.dialect import EVENTBRIDGE, MAX_POLICY_BYTES, SNS_ATTRIBUTES, SNS_BODY, Dialect
from services.runtime.settings import ConfigClientSettings, Port, settings_config

_Limit = Annotated[int, Field(ge=0)]


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
    sns_attributes_max_keys: _Limit = Field(
        default=5, description="Keys of a policy in sns-attributes, as Amazon SNS limits them; 0 for any number."
    )
    sns_attributes_max_combinations: _Limit = Field(
        default=150, description="Value combinations of a policy in sns-attributes; 0 for any number."
    )
    sns_body_max_keys: _Limit = Field(
        default=5, description="Outermost keys of a policy in sns-body, as Amazon SNS limits them; 0 for any number."
    )
    sns_body_max_combinations: _Limit = Field(
        default=150, description="Value combinations of a policy in sns-body; 0 for any number."
    )
    eventbridge_max_keys: _Limit = Field(
        default=0, description="Outermost keys of a policy in eventbridge; 0 for any number."
    )
    eventbridge_max_combinations: _Limit = Field(
        default=0, description="Value combinations of a policy in eventbridge; 0 for any number."
    )
    max_policy_bytes: int = Field(
        default=MAX_POLICY_BYTES,
        ge=2,
        le=2 * MAX_POLICY_BYTES,
        description="Length of a policy in bytes of UTF-8, as Amazon SNS limits it; a parameter holds twice as many.",
    )

    def dialects(self) -> Mapping[str, Dialect]:
        """The dialects by name, with these limits on what is put and validated."""
        limits = (
            (SNS_ATTRIBUTES, self.sns_attributes_max_keys, self.sns_attributes_max_combinations),
            (SNS_BODY, self.sns_body_max_keys, self.sns_body_max_combinations),
            (EVENTBRIDGE, self.eventbridge_max_keys, self.eventbridge_max_combinations),
        )
        return {
            dialect.name: replace(
                dialect,
                max_keys=keys or None,
                max_combinations=combinations or None,
                max_policy_bytes=self.max_policy_bytes,
            )
            for dialect, keys, combinations in limits
        }
