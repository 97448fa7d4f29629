"""A rollout from its first share to everybody, or back: step by step, watched by an alarm."""

import asyncio
import datetime as dt
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from penstock.client.parameters import ParameterClient, RemoteParameter
from penstock.client.rollout import Rollout, rollout_document, rollout_parameter

from services.runtime.errors import NotFoundError, PenstockError, invalid_field

_LOG = logging.getLogger("penstock.client")
_LEASE = dt.timedelta(minutes=2)

Alarm = Callable[[], Awaitable[bool]]
"""Whether something is wrong since the rollout began. One that raises counts as an alarm."""


class Outcome(StrEnum):
    """How a rollout ended."""

    COMPLETED = "completed"
    ROLLED_BACK = "rolled back"


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPlan:
    """The shares in the order they are reached, and how long each is watched before the next.

    Raises:
        InvalidArgumentError: the percentages do not grow, or one is not above 0 and at most 100.
    """

    percentages: Sequence[float] = (5.0, 25.0, 50.0)
    callers: Sequence[str] = ()
    bake_seconds: float = 60.0
    poll_seconds: float = 5.0

    def __post_init__(self) -> None:
        shares = list(self.percentages)
        if not shares or shares != sorted(set(shares)) or not shares[0] >= 0 or shares[-1] > 100:  # noqa: PLR2004
            raise invalid_field("percentages", f"{shares} do not grow from at least 0 to at most 100")
        if not 0 < self.poll_seconds <= self.bake_seconds:
            raise invalid_field("poll_seconds", f"{self.poll_seconds} is not above 0 and at most the bake time")


class RollingOut:
    """Rolls one value out. It holds a lease: should it die, the rollout expires and everybody has the old value.

    Args:
        parameters: calls the config service.
        alarm: asked every `poll_seconds`; True takes the value back from everybody at once.
        tell: hears of every step in a few words.
        sleep, now: the time.
    """

    def __init__(
        self,
        parameters: ParameterClient,
        *,
        alarm: Alarm,
        tell: Callable[[str], None] = lambda _text: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self._parameters = parameters
        self._alarm = alarm
        self._tell = tell
        self._sleep, self._now = sleep, now

    async def run(self, name: str, value: str, plan: RolloutPlan) -> Outcome:
        """Gives the value to one share after the other, then to everybody as a new version.

        Whatever ends it early, a cancellation too, takes the value back.

        Raises:
            NotFoundError: there is no such parameter to begin with.
            AlreadyExistsError: another rollout of it runs.
            AbortedError: somebody wrote the parameter meanwhile: it has that value, nobody has ours.
        """
        current = await self._parameters.get(name)
        place, version = rollout_parameter(current.name), 0
        completed = False
        try:
            for percentage in plan.percentages:
                document = Rollout(
                    value=value, base_version=current.version, percentage=percentage, callers=tuple(plan.callers)
                )
                version = await self._write(place, document, plan, current, expected=version)
                self._tell(f"{percentage:g} % of the callers")
                if await self._alarmed(plan):
                    self._tell("an alarm: everybody gets the old value")
                    return Outcome.ROLLED_BACK
                if not await self._holds(place, version):
                    self._tell("somebody else has ended or changed the rollout: everybody gets the old value")
                    return Outcome.ROLLED_BACK
            await self._parameters.put(current.name, value, expected_version=current.version)
            completed = True
            self._tell("everybody")
            return Outcome.COMPLETED
        finally:
            if version:
                await asyncio.shield(self._withdraw(place, completed=completed))

    async def _write(
        self, place: str, rollout: Rollout, plan: RolloutPlan, current: RemoteParameter, *, expected: int
    ) -> int:
        return await self._parameters.put(
            place,
            rollout_document(rollout),
            expected_version=expected,
            secret=current.secret and expected == 0,
            description=f"rollout of version {current.version + 1}",
            expires_at=self._now() + dt.timedelta(seconds=plan.bake_seconds) + _LEASE,
        )

    async def _holds(self, place: str, version: int) -> bool:
        try:
            return (await self._parameters.get(place)).version == version
        except NotFoundError:
            return False

    async def _alarmed(self, plan: RolloutPlan) -> bool:
        baked = 0.0
        while baked < plan.bake_seconds:
            pause = min(plan.poll_seconds, plan.bake_seconds - baked)
            await self._sleep(pause)
            baked += pause
            try:
                if await self._alarm():
                    return True
            except Exception as error:  # noqa: BLE001 - whoever cannot tell that all is well must stop it
                self._tell(f"the alarm cannot be asked: {error!r}")
                return True
        return False

    async def _withdraw(self, place: str, *, completed: bool) -> None:
        """Removes the document. After completion it is void already; else who fails to leaves it to its expiry."""
        try:
            await self._parameters.delete(place)
        except NotFoundError:
            return
        except PenstockError as error:
            fate = "it is void" if completed else "it ends by its expiry"
            _LOG.warning("%s could not be deleted: %s; %s", place, error.message, fate)
