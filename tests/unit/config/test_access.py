"""Rules decide about every name; nothing reveals what they deny, whatever is asked."""

import asyncio
import base64
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.config.access import Access, Action, Decisions, Rule, covers
from services.config.access_file import AccessControl, AccessFileError
from services.config.audit import AuditLog, records_of
from services.config.crypto import SecretBox
from services.config.guard import Guard, Session
from services.config.key_file import LocalKeys
from services.config.memory_store import MemoryStore
from services.config.parameter import Parameter, ParameterType, Sealed
from services.config.registry import ParameterRegistry
from services.config.schemas import SchemaBook
from services.config.update import ParameterUpdate
from services.config.watch import Bookmark, WatchHub
from services.runtime.errors import NotFoundError, PermissionDeniedError, UnauthenticatedError

NAMES = ("/a", "/a/b", "/a/b/c", "/a/s", "/b", "/b/s")
SECRETS = {"/a/s", "/b/s"}
EVERYTHING = frozenset(Action)


async def matches(pattern: str, value: str) -> bool:
    return re.fullmatch(pattern, value) is not None


async def satisfies(_schema: str, _value: str | None) -> Sequence[str]:
    return ()


def guard_of(*rules: Rule, audit: AuditLog | None = None) -> Guard:
    store = MemoryStore()
    registry = ParameterRegistry(store, SecretBox(LocalKeys([b"k" * 32])), matches, SchemaBook(store, satisfies))
    access = Access(principals=frozenset({"owner", "reader"}), rules=[rule("owner", *Action), *rules])
    return Guard(registry, WatchHub(store, bookmark_seconds=3600.0), access=Decisions(access), audit=audit)


def rule(principal: str, *actions: Action, paths: Sequence[str] = ("/",), allows: bool = True) -> Rule:
    return Rule(allows=allows, principals=frozenset({principal}), actions=frozenset(actions), paths=tuple(paths))


async def fill(guard: Guard) -> None:
    for name in NAMES:
        kind = ParameterType.SECURE_STRING if name in SECRETS else ParameterType.STRING
        for value in ("one", "two"):
            await guard.session("owner").put(ParameterUpdate(name=name, value=f"{value} of {name}", type=kind))


@pytest.mark.parametrize(
    ("path", "name", "expected"),
    [
        ("/", "/a", True), ("/a", "/a", True), ("/a", "/a/b", True), ("/a/", "/a/b", True), ("/a", "/ab", False),
        ("/a/b", "/a", False), ("/*/db", "/x/db", True), ("/*/db", "/x/db/password", True), ("/*/db", "/x/y/db", False),
        ("/*", "/a", True), ("/A", "/a", False),
    ],
)  # fmt: skip
def test_a_path_covers_a_name_and_what_is_below(path: str, name: str, *, expected: bool) -> None:
    """Level by level, a star standing for any one of them."""
    assert covers(path, name) is expected


def test_nothing_is_allowed_that_no_rule_allows() -> None:
    """And a rule that denies wins, in whatever order they stand; who is no principal may do nothing."""
    allow, deny = rule("reader", Action.READ), rule("reader", Action.READ, paths=["/a"], allows=False)
    for rules in ([allow, deny], [deny, allow]):
        decisions = Decisions(Access(principals=frozenset({"reader"}), rules=rules))
        assert decisions.allow("reader", Action.READ, "/b")
        assert not decisions.allow("reader", Action.READ, "/a/b")
        assert not decisions.allow("reader", Action.WRITE, "/b")
        assert not decisions.allow("nobody", Action.READ, "/b")
    everybody = Decisions(Access(principals=frozenset({"reader"}), rules=[rule("*", Action.READ)]))
    assert everybody.allow("reader", Action.READ, "/b")
    assert not everybody.allow("nobody", Action.READ, "/b")


async def test_what_may_not_be_read_is_as_if_it_were_not_there() -> None:
    """The error of a name that is denied is that of a name that is missing, word for word."""
    guard = guard_of()
    await fill(guard)
    reader = guard.session("reader")
    for read in (reader.get("/a", decrypt=True), reader.versions_page("/a", page_size=0, token="", decrypt=True)):
        with pytest.raises(NotFoundError) as denied:
            await read
        assert denied.value.message == "no parameter /a: `penstock params ls` lists what there is"
        assert denied.value.metadata == {"name": "/a"}
    batch = await reader.get_batch(["/a", "/none"], decrypt=True)
    assert (list(batch.parameters), list(batch.missing)) == ([], ["/a", "/none"])


async def test_changes_are_refused_before_anything_is_looked_at() -> None:
    """So that the answer does not tell whether the parameter exists."""
    guard = guard_of()
    await fill(guard)
    reader = guard.session("reader")
    for name in ("/a", "/none"):
        for change in (
            reader.put(ParameterUpdate(name=name, value="v")),
            reader.put(ParameterUpdate(name=name, value="v"), dry_run=True),
            reader.delete(name),
            reader.label(name, ["x"], version=None),
            reader.unlabel(name, ["x"], version=1),
            reader.tag(name, {"k": "v"}),
        ):
            with pytest.raises(PermissionDeniedError, match=f"reader may not .* {name}:"):
                await change
    assert (await guard.session("owner").get("/a", decrypt=False)).version == 2


async def test_a_secret_needs_a_permission_of_its_own() -> None:
    """A single read is refused; in lists and history the value stays sealed."""
    guard = guard_of(rule("reader", Action.READ, Action.WATCH))
    await fill(guard)
    reader = guard.session("reader")
    with pytest.raises(PermissionDeniedError, match="reader may not decrypt /a/s"):
        await reader.get("/a/s", decrypt=True)
    page = await reader.list_page("/", recursive=True, page_size=0, token="", decrypt=True)
    history = await reader.versions_page("/a/s", page_size=0, token="", decrypt=True)
    sealed = [one for one in (*page.parameters, *history.parameters) if one.name in SECRETS]
    assert len(sealed) == 4
    assert all(isinstance(one.value, Sealed) for one in sealed)


async def seen_by(session: Session) -> list[Parameter]:
    """Everything that reads, lists, history and a watch from the beginning show a caller."""
    found: list[Parameter] = []
    for name in NAMES:
        for text in (name, f"{name}:1"):
            try:
                found.append(await session.get(text, decrypt=session.allows(Action.DECRYPT, name)))
            except NotFoundError:
                continue
        found += (await session.get_batch([name], decrypt=True)).parameters
        try:
            found += (await session.versions_page(name, page_size=0, token="", decrypt=True)).parameters
        except NotFoundError:
            continue
    for path in ("/", *NAMES):
        for recursive in (True, False):
            token, first = "", True
            while token or first:
                page = await session.list_page(path, recursive=recursive, page_size=1, token=token, decrypt=True)
                position = position_of(page.next_token)
                assert not position or session.allows(Action.READ, position)
                found += page.parameters
                token, first = page.next_token, False
    return found


def position_of(token: str) -> str:
    """The name that anybody can read out of a page token."""
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))[6:].decode()


async def watched_by(session: Session) -> list[Parameter]:
    found: list[Parameter] = []
    async for event in session.follow("/", 0, decrypt=True):
        if isinstance(event, Bookmark):
            break
        assert isinstance(event, Parameter)
        found.append(event)
    return found


RULE = st.builds(
    Rule,
    allows=st.booleans(),
    principals=st.just(frozenset({"reader"})),
    actions=st.frozensets(st.sampled_from([Action.READ, Action.DECRYPT, Action.WATCH]), min_size=1),
    paths=st.lists(st.sampled_from(["/", *NAMES, "/*", "/*/s"]), min_size=1, max_size=2).map(tuple),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(RULE, max_size=5))
def test_no_api_shows_what_the_rules_deny(rules: list[Rule]) -> None:
    """Gets, batches, lists in pages, history and watches against a model that is as simple as can be."""

    def allowed(action: Action, name: str) -> bool:
        effects = [one.allows for one in rules if action in one.actions and any(covers(p, name) for p in one.paths)]
        return bool(effects) and all(effects)

    async def check() -> None:
        guard = guard_of(*rules)
        await fill(guard)
        reader = guard.session("reader")
        seen, watched = await seen_by(reader), await watched_by(reader)
        assert {one.name for one in seen} == {name for name in NAMES if allowed(Action.READ, name)}
        assert {one.name for one in watched} == {name for name in NAMES if allowed(Action.WATCH, name)}
        for one in (*seen, *watched):
            if one.name in SECRETS:
                assert isinstance(one.value, str) is allowed(Action.DECRYPT, one.name)

    asyncio.run(check())


async def test_changes_secrets_read_and_refusals_are_audited(tmp_path: Path) -> None:
    """Who, what, which version and revision, with what result; a plain read leaves no record, a value never does."""
    path = tmp_path / "audit.log"
    async with AuditLog(path, now=lambda: 5.0) as audit:
        guard = guard_of(audit=audit)
        owner, reader = guard.session("owner"), guard.session("reader")
        await owner.put(ParameterUpdate(name="/s", value="s3cret", type=ParameterType.SECURE_STRING))
        await owner.get("/s", decrypt=False)
        await owner.get("/s", decrypt=True)
        await owner.put(ParameterUpdate(name="/s", value="other"), dry_run=True)
        with pytest.raises(NotFoundError):
            await reader.get("/s", decrypt=True)
        with pytest.raises(PermissionDeniedError):
            await reader.delete("/s")
        with pytest.raises(NotFoundError):
            await owner.delete("/none")
        await owner.label("/s", ["stable"], version=None)
        await owner.tag("/s", {"team": "lab"})
        await owner.delete("/s")
    shown = [
        (one["principal"], one["action"], one["name"], one["version"], one["revision"], one["result"])
        for one in records_of(path)
    ]
    assert shown == [
        ("owner", "write", "/s", 1, 1, "ok"),
        ("owner", "decrypt", "/s", 1, 0, "ok"),
        ("reader", "read", "/s", 0, 0, "refused"),
        ("reader", "delete", "/s", 0, 0, "refused"),
        ("owner", "delete", "/none", 0, 0, "parameter_not_found"),
        ("owner", "label", "/s", 1, 2, "ok"),
        ("owner", "tag", "/s", 0, 3, "ok"),
        ("owner", "delete", "/s", 0, 4, "ok"),
    ]
    assert b"s3cret" not in path.read_bytes()


ACCESS = """
[[principals]]
name = "billing"
token_files = ["billing.token"]
certificates = ["billing.internal"]
access_keys = [{ id = "AKIABILLING", secret_file = "billing.token" }]

[[rules]]
principals = ["billing"]
actions = ["read"]
paths = ["/prod/billing"]
"""


@pytest.fixture
def access_file(tmp_path: Path) -> Path:
    path = tmp_path / "access.toml"
    path.write_text(ACCESS)
    token = tmp_path / "billing.token"
    token.write_text("a-token-of-some-length\n")
    token.chmod(0o600)
    return path


def rewrite(path: Path, text: str) -> None:
    path.write_text(text)


def test_principals_are_known_by_token_certificate_and_access_key(access_file: Path) -> None:
    """Each to one principal; an unknown token is refused, an unknown certificate is nobody's."""
    control = AccessControl(access_file)
    assert control.with_token("a-token-of-some-length") == "billing"
    assert control.with_certificate(["other", "billing.internal"]) == "billing"
    assert control.with_certificate(["other"]) is None
    key = control.access_key("AKIABILLING")
    assert key is not None
    assert (key.principal, key.secret) == ("billing", "a-token-of-some-length")
    assert "a-token" not in repr(key) + repr(control._decisions.access)
    with pytest.raises(UnauthenticatedError):
        control.with_token("a-token-of-some-lengt")


async def test_changed_rules_come_into_force_and_broken_ones_do_not(access_file: Path) -> None:
    """The former ones stay, and the health says so until the file is mended."""
    troubles: list[str] = []
    control = AccessControl(access_file, on_trouble=troubles.append)
    assert not control.allow("billing", Action.WRITE, "/prod/billing/a")
    rewrite(access_file, ACCESS.replace('"read"', '"write"'))
    await control.look()
    assert control.allow("billing", Action.WRITE, "/prod/billing/a")
    rewrite(access_file, "nonsense")
    await control.look()
    assert control.allow("billing", Action.WRITE, "/prod/billing/a")
    assert troubles == ["", "the changed access file has faults: the former rules stay in force"]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('"read"', '"reed"', "rules.0.actions.0"),
        ('["/prod/billing"]', '["prod"]', "does not start with /"),
        ('principals = ["billing"]', 'principals = ["bill"]', "there is no principal bill"),
        ("billing.token", "none.token", "none.token cannot be read"),
        ('name = "billing"', 'name = "billing"\ncolour = "red"', "principals.0.colour"),
        ("[[rules]]", "[[rules]", "is not TOML"),
    ],
)
def test_a_file_with_faults_is_refused_with_all_of_them(access_file: Path, old: str, new: str, fault: str) -> None:
    """Where and what."""
    access_file.write_text(ACCESS.replace(old, new))
    with pytest.raises(AccessFileError, match=re.escape(fault)):
        AccessControl(access_file)


@pytest.mark.parametrize(("mode", "content"), [(0o644, "a-token-of-some-length"), (0o600, "short")])
def test_a_token_that_others_can_read_or_guess_is_refused(access_file: Path, mode: int, content: str) -> None:
    """Without showing it."""
    token = access_file.with_name("billing.token")
    token.write_text(content)
    token.chmod(mode)
    with pytest.raises(AccessFileError) as caught:
        AccessControl(access_file)
    assert content not in str(caught.value)
