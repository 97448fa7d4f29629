"""The parameters a program follows, in its memory: what `get` reads and pushes fill.

path watcher ─▶ base versions ─┐
├─▶ value of this caller ─▶ get · watch
rollout watcher ─▶ rollouts ───┘
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from penstock.client.parameters import RemoteParameter
from penstock.client.rollout import Rollout, parameter_rolled_out, read_rollout
from penstock.client.watcher import ParameterChange

from services.runtime.errors import InvalidArgumentError, NotFoundError

_LOG = logging.getLogger("penstock.client")

T = TypeVar("T")
Listener = Callable[[ParameterChange], None]


class _Missing:
    """No default was given."""


MISSING: Final = _Missing()


class _Entry:
    """One version of a value, and what it was converted to so far. It is replaced, never changed."""

    __slots__ = ("converted", "parameter")

    def __init__(self, parameter: RemoteParameter) -> None:
        self.parameter = parameter
        self.converted: dict[Callable[[str], Any], Any] = {str: parameter.value}


@dataclass(frozen=True, slots=True, eq=False)
class _Listening:
    path: str
    tell: Listener


class ParameterCache:
    """Parameters by name. Reads may come from any thread; what fills it must come from one.

    `caller` is who reads, for rollouts; empty takes part in none.
    """

    def __init__(self, caller: str = "") -> None:
        self._caller = caller
        self._entries: dict[str, _Entry] = {}
        self._base: dict[str, RemoteParameter] = {}
        self._rollouts: dict[str, Rollout] = {}
        self._listeners: tuple[_Listening, ...] = ()

    def get(self, name: str, convert: Callable[[str], T], default: T | _Missing) -> T:
        """The value, converted once per version.

        Raises:
            NotFoundError: there is no such parameter and no default.
            InvalidArgumentError: it cannot be converted; the message does not tell the value.
        """
        try:
            value: T = self._entries[name].converted[convert]
        except KeyError:
            return self._converted(name, convert, default)
        return value

    def _converted(self, name: str, convert: Callable[[str], T], default: T | _Missing) -> T:
        entry = self._entries.get(name)
        if entry is None:
            if not isinstance(default, _Missing):
                return default
            raise NotFoundError(
                f"no parameter {name} among those followed",
                reason="ERROR_REASON_PARAMETER_NOT_FOUND",
                metadata={"name": name},
            )
        value = entry.converted[convert] = convert_parameter(entry.parameter, convert)
        return value

    def parameter(self, name: str) -> RemoteParameter | None:
        """A parameter as this caller sees it now; None while there is none."""
        entry = self._entries.get(name)
        return None if entry is None else entry.parameter

    def parameters(self) -> Mapping[str, RemoteParameter]:
        """Everything that is followed, by name, as this caller sees it now."""
        return {name: entry.parameter for name, entry in list(self._entries.items())}

    def listen(self, path: str, tell: Listener) -> Callable[[], None]:
        """Calls `tell` for each later change of `path` or below; the result ends it."""
        listening = _Listening(path, tell)
        self._listeners += (listening,)

        def end() -> None:
            self._listeners = tuple(other for other in self._listeners if other is not listening)

        return end

    def on_parameter(self, change: ParameterChange) -> None:
        """Takes in a change of a parameter, told by its watcher."""
        if change.value is None or change.version is None:
            self._base.pop(change.name, None)
        else:
            self._base[change.name] = RemoteParameter(
                name=change.name,
                value=change.value,
                version=change.version,
                revision=change.revision,
                secret=change.secret,
            )
        self._settle(change.name, change.revision)

    def on_rollout(self, change: ParameterChange) -> None:
        """Takes in a change of a rollout document, told by its watcher.

        Raises:
            InvalidArgumentError: it is none; the parameter has no rollout then.
        """
        name = parameter_rolled_out(change.name)
        self._rollouts.pop(name, None)
        try:
            if change.value is not None:
                self._rollouts[name] = read_rollout(change.value)
        finally:
            self._settle(name, change.revision)

    def _settle(self, name: str, revision: int) -> None:
        """Puts the value of this caller in place and tells of it, if it is another."""
        seen, parameter = self._entries.get(name), self._effective(name)
        if parameter is None:
            if seen is not None:
                del self._entries[name]
                self._tell(ParameterChange(name=name, value=None, version=None, revision=revision))
            return
        if seen is not None and _same(seen.parameter, parameter):
            return
        self._entries[name] = _Entry(parameter)
        self._tell(
            ParameterChange(
                name=name,
                value=parameter.value,
                version=parameter.version,
                revision=max(revision, parameter.revision),
                secret=parameter.secret,
            )
        )

    def _effective(self, name: str) -> RemoteParameter | None:
        base, rollout = self._base.get(name), self._rollouts.get(name)
        if base is None or rollout is None or rollout.base_version != base.version:
            return base
        return replace(base, value=rollout.value) if rollout.includes(name, self._caller) else base

    def _tell(self, change: ParameterChange) -> None:
        for listening in self._listeners:
            if not concerns(listening.path, change.name):
                continue
            try:
                listening.tell(change)
            except Exception as error:  # noqa: BLE001 - one listener must not cost the others their change
                trace = None if change.secret else error
                _LOG.error("a listener of %s failed on %s", listening.path, change, exc_info=trace)


def convert_parameter(parameter: RemoteParameter, convert: Callable[[str], T]) -> T:
    """The value as another type.

    Raises:
        InvalidArgumentError: it cannot be converted; the message does not tell the value.
    """
    try:
        return convert(parameter.value)
    except Exception:  # noqa: BLE001 - whatever a conversion raises, it may quote the value
        wanted = getattr(convert, "__name__", repr(convert))
        fault = f"{parameter.name} version {parameter.version} is no {wanted}"
        raise InvalidArgumentError(fault, metadata={"name": parameter.name}) from None


def concerns(path: str, name: str) -> bool:
    """Whether a name is `path` itself or lies below it."""
    return name == path or name.startswith(f"{path.rstrip('/')}/")


def _same(seen: RemoteParameter, parameter: RemoteParameter) -> bool:
    return (seen.version, seen.value, seen.secret) == (parameter.version, parameter.value, parameter.secret)
