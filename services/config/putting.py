"""A put: the value is checked against pattern and schemas, encrypted, and written as the next version."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from services.config.crypto import DataKey, SecretBox
from services.config.next_version import may_change_tier, next_version, pattern_after, schema_after, type_after
from services.config.parameter import MAX_PARAMETERS, MAX_PATTERN_LENGTH, Parameter, ParameterType, Sealed, Tier
from services.config.path import Selector
from services.config.schemas import SchemaBook, is_schema
from services.config.store import Decide, ParameterStore
from services.config.update import ParameterUpdate, check_update
from services.runtime.errors import FieldViolation, InvalidArgumentError, invalid_field

Matches = Callable[[str, str], Awaitable[bool]]
"""Whether a whole value (second) matches a pattern (first), in bounded time.

Raises InvalidArgumentError when the pattern is no regular expression or takes too long.
"""


class _ChangedError(Exception):
    """Between checking and writing another caller has changed the pattern, the schema or the type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    """What a value was checked against, and what is needed to write it."""

    pattern: str
    schema: str
    data_key: DataKey | None
    full: frozenset[Tier]
    principal: str


class Putting:
    """Writes new versions to a store.

    What can take time is done before the write, by what holds then: pattern, schemas, a data key. When another caller
    changes one of these meanwhile, it is done again.
    """

    def __init__(
        self,
        store: ParameterStore,
        secrets: SecretBox,
        matches: Matches,
        schemas: SchemaBook,
        *,
        now: Callable[[], float],
    ) -> None:
        self._store = store
        self._secrets = secrets
        self._matches = matches
        self._schemas = schemas
        self._now = now

    async def put(self, update: ParameterUpdate, *, principal: str = "", dry_run: bool = False) -> Parameter:
        """Writes a new version, durable when this returns. A dry run checks all and answers the version it would be.

        Raises:
            InvalidArgumentError, AlreadyExistsError, AbortedError, FailedPreconditionError: see `check_update` and
                `next_version`; also when the value does not match the parameter's pattern or a JSON Schema.
            ResourceExhaustedError: no room to write.
        """
        name = check_update(update, now=self._now(), found=await self._pattern_violations(update))
        while True:
            found = await self._store.get([Selector(name=name)])
            current = found.parameters[0]
            decide = self._decision(update, name, await self._checked(update, name, current, principal))
            try:
                return decide(current, found.revision + 1) if dry_run else await self._store.put(name, decide)
            except _ChangedError:
                continue

    async def _pattern_violations(self, update: ParameterUpdate) -> Sequence[FieldViolation]:
        if not update.allowed_pattern or len(update.allowed_pattern) > MAX_PATTERN_LENGTH:
            return ()
        try:
            await self._matches(update.allowed_pattern, "")
        except InvalidArgumentError as error:
            return error.violations
        return ()

    async def _checked(self, update: ParameterUpdate, name: str, current: Parameter | None, principal: str) -> _Checked:
        """What a write needs, after the value was checked against the pattern and the schemas that hold now."""
        pattern, schema = pattern_after(update, current), schema_after(update, current)
        kind = type_after(update, current)
        if is_schema(name) and kind is ParameterType.SECURE_STRING:
            raise invalid_field("type", f"{name} holds the JSON Schema of a path: it cannot be a {kind}")
        if pattern and not await self._matches(pattern, update.value):
            raise _mismatch(name, pattern)
        await self._schemas.check(name, update.value, schema)
        key_id = update.key_id if update.key_id is not None else (current.key_id if current else "")
        is_secret = kind is ParameterType.SECURE_STRING
        return _Checked(
            pattern=pattern,
            schema=schema,
            data_key=await self._secrets.data_key(name, key_id) if is_secret else None,
            full=await self._full_tiers() if may_change_tier(update, current) else frozenset(),
            principal=principal,
        )

    async def _full_tiers(self) -> frozenset[Tier]:
        return frozenset([tier for tier, most in MAX_PARAMETERS.items() if await self._store.count(tier) >= most])

    def _decision(self, update: ParameterUpdate, name: str, checked: _Checked) -> Decide:
        def seal(value: str, name: str, version: int) -> Sealed:
            if checked.data_key is None:  # another caller made it a SecureString meanwhile
                raise _ChangedError
            return self._secrets.seal(value, name, version, checked.data_key)

        def decide(current: Parameter | None, revision: int) -> Parameter:
            if pattern_after(update, current) not in ("", checked.pattern):
                raise _ChangedError
            if schema_after(update, current) not in ("", checked.schema):
                raise _ChangedError
            return next_version(
                update,
                current,
                name=name,
                revision=revision,
                now=self._now(),
                seal=seal,
                principal=checked.principal,
                full=checked.full,
            )

        return decide


def _mismatch(name: str, pattern: str) -> InvalidArgumentError:
    fault = f"does not match the parameter's allowed pattern {pattern!r} as a whole"
    return InvalidArgumentError(
        f"parameter {name} is refused: value: {fault}",
        violations=[FieldViolation(field="value", description=fault)],
        reason="ERROR_REASON_PATTERN_MISMATCH",
        metadata={"name": name, "ssm_error": "ParameterPatternMismatchException"},
    )
