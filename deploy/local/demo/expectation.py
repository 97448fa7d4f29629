"""What a story claims, and whether it held."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class Expectation:
    """One claim of a story: `received` must equal `expected`; both are shown as they are."""

    what: str
    expected: str
    received: str

    @property
    def held(self) -> bool:
        """Whether what came is what was expected."""
        return self.expected == self.received


@dataclass(frozen=True, kw_only=True, slots=True)
class StoryResult:
    """What a story did: its claims, and figures it measured on the way (shown, never judged)."""

    title: str
    expectations: Sequence[Expectation]
    measurements: Sequence[str] = field(default=())

    @property
    def held(self) -> bool:
        """Whether there were claims and every one of them held."""
        return bool(self.expectations) and all(expectation.held for expectation in self.expectations)
