"""Which tier a parameter has: what forces Advanced, and that there is no way back."""

from collections.abc import Iterator

from services.config.data_type import ADVANCED_DATA_TYPES
from services.config.parameter import (
    MAX_ADVANCED_PARAMETERS,
    MAX_STANDARD_PARAMETERS,
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
    wanted: Tier | None, current: Parameter | None, size: int, data_type: str, *, policies: bool, standard_is_full: bool
) -> Tier:
    """The tier asked for; where none is, the one that the parameter has if it is enough, else Advanced.

    Raises:
        FailedPreconditionError: Standard was asked for, and there are as many as there may be.
    """
    has_room = current is not None or not standard_is_full
    if wanted is Tier.STANDARD and not has_room:
        raise FailedPreconditionError(
            f"there are {MAX_STANDARD_PARAMETERS} Standard parameters, which is the limit: use the Advanced tier",
            reason="ERROR_REASON_PARAMETER_LIMIT",
            metadata={"limit": str(MAX_STANDARD_PARAMETERS), "ssm_error": "ParameterLimitExceeded"},
        )
    if wanted is not None:
        return wanted
    needs_advanced = size > MAX_STANDARD_VALUE_BYTES or policies or data_type in ADVANCED_DATA_TYPES
    is_advanced = current is not None and current.tier is Tier.ADVANCED
    return Tier.ADVANCED if is_advanced or needs_advanced or not has_room else Tier.STANDARD


def check_room(parameters: int) -> None:
    """Nothing, when a store of so many parameters takes another one.

    Raises:
        FailedPreconditionError: it does not.
    """
    limit = MAX_STANDARD_PARAMETERS + MAX_ADVANCED_PARAMETERS
    if parameters >= limit:
        raise FailedPreconditionError(
            f"there are {parameters} parameters, at most {limit} are allowed: delete some",
            reason="ERROR_REASON_PARAMETER_LIMIT",
            metadata={"limit": str(limit), "ssm_error": "ParameterLimitExceeded"},
        )
