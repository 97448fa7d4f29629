"""How often a message is tried again, after which waits, and where it waits: by the class of its last failure.

A target that is away or asks for less is not the message's fault: such attempts are *excused*, and by default a
message outlasts any number of them. What counts against `RetryPolicy.max_attempts` are refusals, and attempts that
never came to an end because the bridge died during them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from broker_bridge.targets import ErrorClass
from services.runtime.retry import Backoff

EXCUSED = (ErrorClass.UNAVAILABLE, ErrorClass.THROTTLED)
"""The classes whose failures cost a message nothing, in the order a failure at several targets is named by."""
_DEFAULT_BACKOFF = Backoff(initial=0.5, maximum=30.0)


class RetryStrategy(Enum):
    """Where a refused message waits; `penstock.bridge.v1.RetryStrategy` says what each needs of the broker."""

    LOCAL = auto()
    BROKER = auto()
    SCHEDULED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassPolicy:
    """What holds for failures of one class; `max_attempts` None is without limit."""

    backoff: Backoff = _DEFAULT_BACKOFF
    max_attempts: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tries:
    """The attempts of a message: begun in all, and of those the excused ones by class."""

    begun: int
    excused: Mapping[ErrorClass, int] = field(default_factory=dict)

    @property
    def counted(self) -> int:
        return self.begun - sum(self.excused.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """The settings of a route."""

    max_attempts: int = 5
    backoff: Backoff = _DEFAULT_BACKOFF
    unavailable: ClassPolicy = ClassPolicy()
    throttled: ClassPolicy = ClassPolicy()
    strategy: RetryStrategy = RetryStrategy.LOCAL

    def is_worn_out(self, tries: Tries) -> bool:
        """Whether the attempt that begins now is one too many."""
        return tries.counted > self.max_attempts

    def wait(self, error_class: ErrorClass, tries: Tries, random: Callable[[], float]) -> float | None:
        """Seconds until the attempt after one that failed with this class; None when it was the last."""
        if error_class is ErrorClass.POISON:
            return None
        policy = self._of(error_class)
        failures = tries.excused.get(error_class, 0) if error_class in EXCUSED else tries.counted
        if policy.max_attempts is not None and failures >= policy.max_attempts:
            return None
        return policy.backoff.delay(failures, random)

    def _of(self, error_class: ErrorClass) -> ClassPolicy:
        if error_class is ErrorClass.UNAVAILABLE:
            return self.unavailable
        if error_class is ErrorClass.THROTTLED:
            return self.throttled
        return ClassPolicy(backoff=self.backoff, max_attempts=self.max_attempts)
