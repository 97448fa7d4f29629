"""What one caller may do: every name it asks for, and every parameter it would be shown, is checked by itself.

A parameter that may not be read is as if it did not exist. Changes, reads of secrets and refusals are audited: durable
before the caller is answered.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol, TypeVar

from services.config.access import Action
from services.config.audit import AuditLog, AuditRecord
from services.config.filters import Filter
from services.config.parameter import Parameter, ParameterEvent, Sealed
from services.config.path import parse_name, parse_path, parse_selector
from services.config.registry import Batch, Labelled, Page, ParameterRegistry, Unlabelled
from services.config.store import Tagged, not_found
from services.config.update import ParameterUpdate
from services.config.watch import Bookmark, WatchHub
from services.runtime.errors import InvalidArgumentError, PenstockError, PermissionDeniedError, invalid_field

T = TypeVar("T")
Numbers = Callable[[T], tuple[int, int]]
"""Version and revision of what was done, 0 where there is none."""


_REFUSED = "refused"


class Allows(Protocol):
    """Decides about access; see `access.Decisions`."""

    def allow(self, principal: str, action: Action, name: str) -> bool:
        """Whether a principal may do this with a parameter."""


class Guard:
    """Opens sessions for callers. Without `access` everybody may do everything; without `audit` nothing is noted."""

    def __init__(
        self,
        registry: ParameterRegistry,
        hub: WatchHub,
        *,
        access: Allows | None = None,
        audit: AuditLog | None = None,
    ) -> None:
        self.registry = registry
        self.hub = hub
        self.access = access
        self.audit = audit

    def session(self, principal: str) -> "Session":
        """What a principal may do; the empty one is a caller where access control is off."""
        return Session(self, principal)


class Session:
    """The operations of `ParameterRegistry` and `WatchHub.follow` for one principal.

    A secret's value is text where it is to be decrypted and the caller may, else it stays Sealed. Every method raises
    PermissionDeniedError for a change that is not allowed, beside what the registry raises.
    """

    def __init__(self, guard: Guard, principal: str) -> None:
        self._guard = guard
        self._registry = guard.registry
        self.principal = principal

    def allows(self, action: Action, name: str) -> bool:
        """Whether the principal may do this with a parameter."""
        access = self._guard.access
        return access is None or access.allow(self.principal, action, name)

    async def put(self, update: ParameterUpdate, *, dry_run: bool = False) -> Parameter:
        name = await self._permitted(Action.WRITE, update.name)
        writing = self._registry.put(update, principal=self.principal, dry_run=dry_run)
        if dry_run:
            return await writing
        return await self._audited(Action.WRITE, name, writing, lambda written: (written.version, written.revision))

    async def delete(self, text: str, *, expected_version: int | None = None) -> int:
        name = await self._permitted(Action.DELETE, text)
        deleting = self._registry.delete(text, expected_version=expected_version)
        return await self._audited(Action.DELETE, name, deleting, lambda revision: (0, revision))

    async def label(self, text: str, labels: Sequence[str], *, version: int | None) -> Labelled:
        name = await self._permitted(Action.LABEL, text)
        labelling = self._registry.label(text, labels, version=version)
        return await self._audited(Action.LABEL, name, labelling, lambda done: (done.version, done.revision))

    async def unlabel(self, text: str, labels: Sequence[str], *, version: int) -> Unlabelled:
        name = await self._permitted(Action.LABEL, text)
        unlabelling = self._registry.unlabel(text, labels, version=version)
        return await self._audited(Action.LABEL, name, unlabelling, lambda done: (version, done.revision))

    async def tag(self, text: str, tags: Mapping[str, str], *, removed: Sequence[str] = ()) -> Tagged:
        name = await self._permitted(Action.WRITE, text)
        tagging = self._registry.tag(text, tags, removed=removed)
        return await self._audited(Action.WRITE, name, tagging, lambda tagged: (0, tagged.revision), as_action="tag")

    async def get(self, text: str, *, decrypt: bool) -> Parameter:
        selector = parse_selector(text)
        if not self.allows(Action.READ, selector.name):
            await self._note(self._record(Action.READ, selector.name, result=_REFUSED))
            raise not_found(text.strip())
        parameter = await self._registry.get(text)
        if decrypt and isinstance(parameter.value, Sealed) and not self.allows(Action.DECRYPT, parameter.name):
            await self._permitted(Action.DECRYPT, parameter.name)
        return (await self._shown([parameter], decrypt=decrypt))[0]

    async def get_batch(self, texts: Sequence[str], *, decrypt: bool) -> Batch:
        batch = await self._registry.get_batch(texts)
        hidden = {one.name for one in batch.parameters if not self.allows(Action.READ, one.name)}
        if not hidden:
            return replace(batch, parameters=await self._shown(batch.parameters, decrypt=decrypt))
        await self._note(*(self._record(Action.READ, name, result=_REFUSED) for name in sorted(hidden)))
        seen = [one for one in batch.parameters if one.name not in hidden]
        missing = {*batch.missing}
        return replace(
            batch,
            parameters=await self._shown(seen, decrypt=decrypt),
            missing=[text for text in dict.fromkeys(texts) if text in missing or parse_selector(text).name in hidden],
        )

    async def list_page(
        self,
        path: str,
        *,
        recursive: bool,
        page_size: int,
        token: str,
        filters: Sequence[Filter] = (),
        decrypt: bool = False,
    ) -> Page:
        page = await self._registry.list_page(
            path,
            recursive=recursive,
            page_size=page_size,
            token=token,
            filters=filters,
            visible=lambda name: self.allows(Action.READ, name),
        )
        return replace(page, parameters=await self._shown(page.parameters, decrypt=decrypt))

    async def versions_page(self, text: str, *, page_size: int, token: str, decrypt: bool) -> Page:
        name = parse_name(text)
        if not self.allows(Action.READ, name):
            await self._note(self._record(Action.READ, name, result=_REFUSED))
            raise not_found(name)
        page = await self._registry.versions_page(text, page_size=page_size, token=token)
        return replace(page, parameters=await self._shown(page.parameters, decrypt=decrypt))

    def follow(
        self, path: str, from_revision: int, *, decrypt: bool
    ) -> AsyncGenerator[ParameterEvent | Bookmark, None]:
        """Events of a path as in `WatchHub.follow`, of those parameters that may be watched when they happen."""
        parsed = parse_path(path)
        if from_revision < 0:
            raise invalid_field("from_revision", f"{from_revision} is negative; 0 begins with what exists")
        events = self._guard.hub.follow(parsed, from_revision, visible=lambda name: self.allows(Action.WATCH, name))
        return self._opened(events) if decrypt else events

    async def _opened(
        self, events: AsyncGenerator[ParameterEvent | Bookmark, None]
    ) -> AsyncGenerator[ParameterEvent | Bookmark, None]:
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Parameter) and isinstance(event.value, Sealed):
                    yield (await self._shown([event], decrypt=True))[0]
                else:
                    yield event

    async def _permitted(self, action: Action, text: str) -> str:
        """The name in its one form, when the action is allowed and can be audited; a malformed one is let through."""
        try:
            name = parse_name(text)
        except InvalidArgumentError:
            return text[:100]  # the registry tells what is wrong, together with the rest
        if not self.allows(action, name):
            await self._note(self._record(action, name, result=_REFUSED))
            raise PermissionDeniedError(
                f"{self.principal} may not {action} {name}: ask for a rule in the access file of the config service",
                metadata={"name": name},
            )
        if self._guard.audit:
            await self._guard.audit.ready()
        return name

    async def _audited(
        self,
        action: Action,
        name: str,
        doing: Awaitable[T],
        numbers: Numbers[T],
        *,
        as_action: str = "",
    ) -> T:
        noted = as_action or action
        try:
            done = await doing
        except PenstockError as error:
            await self._note(self._record(noted, name, result=error.reason.removeprefix("ERROR_REASON_").lower()))
            raise
        version, revision = numbers(done)
        await self._note(self._record(noted, name, version=version, revision=revision))
        return done

    async def _shown(self, parameters: Sequence[Parameter], *, decrypt: bool) -> list[Parameter]:
        """The parameters, secrets opened where that is wanted and allowed, and noted."""
        opened = {
            index
            for index, one in enumerate(parameters)
            if decrypt and isinstance(one.value, Sealed) and self.allows(Action.DECRYPT, one.name)
        }
        if not opened:
            return list(parameters)
        await self._note(
            *(
                self._record(Action.DECRYPT, parameters[index].name, version=parameters[index].version)
                for index in sorted(opened)
            )
        )
        return [await self._registry.open(one) if index in opened else one for index, one in enumerate(parameters)]

    def _record(
        self, action: str, name: str, *, result: str = "ok", version: int = 0, revision: int = 0
    ) -> AuditRecord:
        return AuditRecord(
            principal=self.principal, action=str(action), name=name, result=result, version=version, revision=revision
        )

    async def _note(self, *records: AuditRecord) -> None:
        if self._guard.audit:
            await self._guard.audit.add(*records)
