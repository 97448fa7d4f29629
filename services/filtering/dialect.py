"""The three policy languages: what each looks at, where their rules differ, and their limits."""

from dataclasses import dataclass, replace
from decimal import Decimal

MAX_POLICY_BYTES = 256 * 1024
MAX_BRANCHES = 1000
"""Ways to satisfy a policy by choosing alternatives of its `$or`s, in every dialect; the index files each of them."""
MAX_FILED_CONDITIONS = 100_000
"""Conditions of all these ways together, counted again in each, where there are several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """A policy language. The limits of the predefined ones are those of AWS; `dataclasses.replace` adjusts them."""

    name: str
    looks_at_body: bool
    """Whether keys name properties of the JSON body, at any depth, rather than message attributes."""
    every_element: bool
    """Whether anything-but asks for an array without any listed element, rather than for one unlisted element."""
    strict_exists: bool
    """Whether `exists: true` needs a value that is neither null nor the empty text."""
    max_keys: int | None = None
    """Keys of a policy; where policies nest, the outermost ones."""
    max_combinations: int | None = None
    """Value combinations as Amazon SNS counts them."""
    max_number: Decimal | None = None
    """Largest absolute value of a number in a policy."""
    max_decimals: int | None = None
    """Digits after the point of a number in a policy."""
    max_policy_bytes: int | None = MAX_POLICY_BYTES
    """Length of a policy in UTF-8."""

    @property
    def unlimited(self) -> "Dialect":
        """The same without the limits that a service may set otherwise; what the rules say of numbers stays."""
        return replace(self, max_keys=None, max_combinations=None, max_policy_bytes=None)


SNS_ATTRIBUTES = Dialect(
    name="sns-attributes",
    looks_at_body=False,
    every_element=True,
    strict_exists=True,
    max_keys=5,
    max_combinations=150,
    max_number=Decimal(10**9),
    max_decimals=5,
)
SNS_BODY = Dialect(
    name="sns-body",
    looks_at_body=True,
    every_element=True,
    strict_exists=True,
    max_keys=5,
    max_combinations=150,
    max_number=Decimal(10**9),
    max_decimals=5,
)
EVENTBRIDGE = Dialect(name="eventbridge", looks_at_body=True, every_element=False, strict_exists=False)

DIALECTS = {dialect.name: dialect for dialect in (SNS_ATTRIBUTES, SNS_BODY, EVENTBRIDGE)}
