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


class _UncheckedError(Exception):
    """The value was not checked against what the `current` version asks for."""

    def __init__(self, current: Parameter | None) -> None:
        super().__init__()
        self.current = current


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    """What a value was checked against, and what is needed to write it; `full` is None where tiers were not counted."""

    pattern: str = ""
    schema: str = ""
    data_key: DataKey | None = None
    full: frozenset[Tier] | None = None


_NOTHING = _Checked()


class Putting:
    """Writes new versions to a store.

    Most updates need no check that takes time. So one that does not ask for any itself is taken for one of them, and
    nothing is read beforehand: the write sees what is stored. Where that asks for more (pattern, schemas, a data key,
    room in a tier) nothing is written, it is done by what was seen, and the write is tried again; so also when another
    caller changes one of these meanwhile.
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
        write = self._tried if dry_run else self._store.put
        checked = _NOTHING
        if _asks_for_checks(update):
            found = await self._store.get([Selector(name=name)])
            checked = await self._checked(update, name, found.parameters[0])
        while True:
            try:
                return await write(name, self._decision(update, name, checked, principal))
            except _UncheckedError as error:
                checked = await self._checked(update, name, error.current)

    async def _pattern_violations(self, update: ParameterUpdate) -> Sequence[FieldViolation]:
        if not update.allowed_pattern or len(update.allowed_pattern) > MAX_PATTERN_LENGTH:
            return ()
        try:
            await self._matches(update.allowed_pattern, "")
        except InvalidArgumentError as error:
            return error.violations
        return ()

    async def _tried(self, name: str, decide: Decide) -> Parameter:
        """What `ParameterStore.put` would write."""
        found = await self._store.get([Selector(name=name)])
        return decide(found.parameters[0], found.revision + 1)

    async def _checked(self, update: ParameterUpdate, name: str, current: Parameter | None) -> _Checked:
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
            full=await self._full_tiers() if may_change_tier(update, current) else None,
        )

    async def _full_tiers(self) -> frozenset[Tier]:
        return frozenset([tier for tier, most in MAX_PARAMETERS.items() if await self._store.count(tier) >= most])

    def _decision(self, update: ParameterUpdate, name: str, checked: _Checked, principal: str) -> Decide:
        """Makes the next version, or raises _UncheckedError where that needs more than was checked."""
        schemas_checked = checked is not _NOTHING or not self._schemas.concern(name)

        def decide(current: Parameter | None, revision: int) -> Parameter:
            def seal(value: str, name: str, version: int) -> Sealed:
                if checked.data_key is None:
                    raise _UncheckedError(current)
                return self._secrets.seal(value, name, version, checked.data_key)

            if (
                not schemas_checked
                or pattern_after(update, current) not in ("", checked.pattern)
                or schema_after(update, current) not in ("", checked.schema)
                or (checked.full is None and may_change_tier(update, current))
            ):
                raise _UncheckedError(current)
            return next_version(
                update,
                current,
                name=name,
                revision=revision,
                now=self._now(),
                seal=seal,
                principal=principal,
                full=checked.full or (),
            )

        return decide


def _asks_for_checks(update: ParameterUpdate) -> bool:
    """Whether an update needs checks that take time, whatever is stored."""
    is_secret, is_new = update.type is ParameterType.SECURE_STRING, update.expected_version == 0
    return is_secret or is_new or bool(update.allowed_pattern or update.json_schema)


def _mismatch(name: str, pattern: str) -> InvalidArgumentError:
    fault = f"does not match the parameter's allowed pattern {pattern!r} as a whole"
    return InvalidArgumentError(
        f"parameter {name} is refused: value: {fault}",
        violations=[FieldViolation(field="value", description=fault)],
        reason="ERROR_REASON_PATTERN_MISMATCH",
        metadata={"name": name, "ssm_error": "ParameterPatternMismatchException"},
    )
