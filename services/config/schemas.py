"""JSON Schemas attached to paths: the parameter `/penstock/schemas/prod/app` holds the schema of `/prod/app` and below.

So schemas are versioned, guarded and pushed like everything else; all that apply to a name must be satisfied.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence

from services.config.parameter import Deletion, Parameter, ParameterEvent
from services.config.path import below
from services.config.store import ParameterStore
from services.runtime.errors import FieldViolation, InvalidArgumentError

PREFIX = "/penstock/schemas"
_PAGE = 500

Violations = Callable[[str, str | None], Awaitable[Sequence[str]]]
"""What a value (second, JSON; None checks the schema alone) violates of a schema (first), in bounded time.

Raises InvalidArgumentError when the schema is none.
"""


class SchemaBook:
    """The schemas of all paths in a store. Construct it before the first write and `load` it before the first check."""

    def __init__(self, store: ParameterStore, violations: Violations) -> None:
        self._store = store
        self._violations = violations
        self._schemas: dict[str, str] = {}
        store.on_commit(self._take)

    async def load(self) -> None:
        """Reads what is stored."""
        after, more = "", True
        while more:
            page = await self._store.list_below(PREFIX, recursive=True, after=after, limit=_PAGE)
            self._take(page.parameters)
            more, after = page.more, page.parameters[-1].name if page.parameters else ""

    def concern(self, name: str) -> bool:
        """Whether a value of this name has to be checked, its own `json_schema` apart."""
        return is_schema(name) or next(self._above(name), None) is not None

    async def check(self, name: str, value: str, own: str) -> None:
        """Nothing, when a value satisfies `own`, the parameter's schema, and those of all paths above its name.

        Raises:
            InvalidArgumentError: it does not (ERROR_REASON_SCHEMA_MISMATCH), or a schema is none.
        """
        if is_schema(name):
            await self._violations(value, None)
        for source, schema in [*self._above(name), *((("json_schema", own),) if own else ())]:
            if faults := await self._violations(schema, value):
                raise _mismatch(name, source, faults)

    def _above(self, name: str) -> Iterator[tuple[str, str]]:
        if not self._schemas or is_schema(name):
            return
        levels = name.split("/")
        for count in range(1, len(levels) + 1):
            path = "/".join(levels[:count])
            if (schema := self._schemas.get(path)) is not None:
                yield f"{PREFIX}{path}", schema

    def _take(self, events: Sequence[ParameterEvent]) -> None:
        for event in events:
            if not is_schema(event.name):
                continue
            path = event.name.removeprefix(PREFIX)
            if isinstance(event, Deletion):
                self._schemas.pop(path, None)
            elif isinstance(event, Parameter) and isinstance(event.value, str):
                self._schemas[path] = event.value


def is_schema(name: str) -> bool:
    """Whether the parameter of this name holds the schema of a path."""
    return name.startswith(below(PREFIX).first)


def _mismatch(name: str, source: str, faults: Sequence[str]) -> InvalidArgumentError:
    texts = [f"{fault} (schema {source})" for fault in faults]
    return InvalidArgumentError(
        f"parameter {name} is refused: value: {'; '.join(texts)}",
        violations=[FieldViolation(field="value", description=text) for text in texts],
        reason="ERROR_REASON_SCHEMA_MISMATCH",
        metadata={"name": name, "schema": source},
    )
