"""Which tier a parameter has: what forces Advanced, and that there is no way back."""

from collections.abc import Collection, Iterator

from services.config.data_type import ADVANCED_DATA_TYPES
from services.config.parameter import (
    MAX_PARAMETERS,
    MAX_STANDARD_VALUE_BYTES,
    MAX_VALUE_BYTES,
    Parameter,
    Tier,
)
from services.runtime.errors import FailedPreconditionError


def tier_faults(
    wanted: Tier | None, current: Parameter | None, size: int, data_type: str, *, policies: bool
) -> Iterator[tuple[str, str]]:
    """What speaks against the tier asked for, as field and text; nothing when none is asked for."""
    if wanted is not Tier.STANDARD:
        return
    if current and current.tier is Tier.ADVANCED:
        yield "tier", "an Advanced parameter cannot become Standard: delete it, then create it again"
        return
    if size > MAX_STANDARD_VALUE_BYTES:
        limits = f"{MAX_STANDARD_VALUE_BYTES} are allowed in the Standard tier, {MAX_VALUE_BYTES} in the Advanced tier"
        yield "value", f"has {size} bytes: {limits}"
    if policies:
        yield "policies", "policies and an expiry need the Advanced tier"
    if data_type in ADVANCED_DATA_TYPES:
        yield "data_type", f"{data_type} needs the Advanced tier"


def tier_after(
    wanted: Tier | None,
    current: Parameter | None,
    size: int,
    data_type: str,
    *,
    policies: bool,
    full: Collection[Tier] = (),
) -> Tier:
    """The tier asked for; where none is, the one that the parameter has if it is enough, else Advanced.

    `full` are the tiers that have as many parameters as they may.

    Raises:
        FailedPreconditionError: there is no room for one more in the tier.
    """
    is_advanced = current is not None and current.tier is Tier.ADVANCED
    has_room = current is not None or Tier.STANDARD not in full
    needs_advanced = size > MAX_STANDARD_VALUE_BYTES or policies or data_type in ADVANCED_DATA_TYPES
    tier = wanted or (Tier.ADVANCED if is_advanced or needs_advanced or not has_room else Tier.STANDARD)
    if tier in full and (current is None or current.tier is not tier):
        other = ": use the Advanced tier, or delete some" if tier is Tier.STANDARD else ": delete some"
        raise FailedPreconditionError(
            f"there are {MAX_PARAMETERS[tier]} {tier} parameters, which is the limit{other}",
            reason="ERROR_REASON_PARAMETER_LIMIT",
            metadata={"limit": str(MAX_PARAMETERS[tier]), "ssm_error": "ParameterLimitExceeded"},
        )
    return tier
