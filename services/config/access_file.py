"""Access control in a TOML file, read again when it changes.

[[principals]]
name = "billing"
token_files = ["billing.token"]            # paths from here; a file holds one token
certificates = ["billing.internal"]        # common name or subject alternative name of a client certificate
access_keys = [{ id = "AKIABILLING", secret_file = "billing.secret" }]

[[rules]]
principals = ["billing"]                   # "*" is everybody who has proven to be a principal
actions = ["read", "decrypt", "watch"]     # read, decrypt, write, delete, label, watch
paths = ["/prod/billing"]                  # each covers the name and everything below; "*" is one level
effect = "allow"                           # the default; "deny" wins over every "allow"
"""

import asyncio
import hashlib
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.config.access import Access, AccessKey, Action, Decisions, Rule
from services.config.path import ROOT
from services.runtime.errors import PenstockError, UnauthenticatedError

_LOOK_SECONDS = 1.0
_LEAST_TOKEN = 16


class AccessFileError(PenstockError):
    """The file cannot be used; the message lists everything that is wrong with it."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="ERROR_REASON_INVALID_FIELD")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class _AccessKey(_Strict):
    id: str = Field(min_length=1)
    secret_file: Path


class _Principal(_Strict):
    name: str = Field(pattern=r"^[a-zA-Z0-9_.@-]{1,128}$")
    token_files: list[Path] = []
    certificates: list[str] = []
    access_keys: list[_AccessKey] = []


class _Rule(_Strict):
    principals: list[str] = Field(min_length=1)
    actions: list[Action] = Field(min_length=1)
    paths: list[str] = Field(min_length=1)
    effect: str = Field(default="allow", pattern="^(allow|deny)$")


class _Document(_Strict):
    principals: list[_Principal] = Field(min_length=1)
    rules: list[_Rule] = []


class AccessControl:
    """The rules in force: those of the file when it was last readable. `run` is a background task."""

    def __init__(
        self,
        path: Path,
        *,
        on_trouble: Callable[[str], None] = lambda _text: None,
        look_seconds: float = _LOOK_SECONDS,
    ) -> None:
        """Raises AccessFileError."""
        self._path = path
        self._on_trouble = on_trouble
        self._look_seconds = look_seconds
        self._stamps = _stamps(path)
        self._decisions = Decisions(load_access(path))
        self.generation = 0
        """How often other rules came into force."""

    def allow(self, principal: str, action: Action, name: str) -> bool:
        """See `Decisions.allow`."""
        return self._decisions.allow(principal, action, name)

    def with_token(self, token: str) -> str:
        """The principal of a bearer token.

        Raises:
            UnauthenticatedError: nobody has it.
        """
        # Looked up by its hash: how long that takes tells nothing about the tokens there are.
        principal = self._decisions.access.tokens.get(hashlib.sha256(token.encode()).digest())
        if principal is None:
            raise UnauthenticatedError("the token is not known: check the token file of this client")
        return principal

    def with_certificate(self, names: "list[str]") -> str | None:
        """The principal of a verified client certificate by one of its names; None when it is nobody's."""
        known = self._decisions.access.certificates
        return next((known[name] for name in names if name in known), None)

    def access_key(self, key_id: str) -> AccessKey | None:
        """The AWS access key of this id."""
        return self._decisions.access.access_keys.get(key_id)

    async def run(self) -> None:
        """Looks for changes of the file and its tokens every second, until cancelled."""
        while True:
            await asyncio.sleep(self._look_seconds)
            await self.look()

    async def look(self) -> None:
        """Takes a changed file into force; one with faults changes nothing and is told."""
        stamps = await asyncio.to_thread(_stamps, self._path)
        if stamps == self._stamps:
            return
        self._stamps = stamps
        log = structlog.get_logger(component="access")
        try:
            access = await asyncio.to_thread(load_access, self._path)
        except AccessFileError as error:
            self._on_trouble("the changed access file has faults: the former rules stay in force")
            log.error("the changed access file is not used", error=error.message)  # noqa: TRY400
            return
        self._decisions = Decisions(access)
        self.generation += 1
        self._on_trouble("")
        log.info("access rules changed", principals=len(access.principals), rules=len(access.rules))


def load_access(path: Path) -> Access:
    """What a file says.

    Raises:
        AccessFileError: with everything that is wrong with it.
    """
    try:
        document = _Document.model_validate(tomllib.loads(path.read_text()))
    except OSError as error:
        raise AccessFileError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise AccessFileError(f"{path} is not TOML: {error}") from None
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise AccessFileError(f"{path} has faults: {'; '.join(faults)}") from None
    problems: list[str] = []
    access = Access(
        principals=frozenset(principal.name for principal in document.principals),
        rules=[_rule(rule) for rule in document.rules],
        tokens=_tokens(document, path.parent, problems),
        certificates={name: one.name for one in document.principals for name in one.certificates},
        access_keys=_access_keys(document, path.parent, problems),
    )
    problems += _references(document)
    if problems:
        raise AccessFileError(f"{path} has faults: {'; '.join(problems)}")
    return access


def _rule(rule: _Rule) -> Rule:
    return Rule(
        allows=rule.effect == "allow",
        principals=frozenset(rule.principals),
        actions=frozenset(rule.actions),
        paths=tuple(rule.paths),
    )


def _references(document: _Document) -> list[str]:
    names = [principal.name for principal in document.principals]
    problems = [f"principal {name} is there twice" for name in sorted({one for one in names if names.count(one) > 1})]
    for index, rule in enumerate(document.rules):
        problems += [
            f"rules.{index}: there is no principal {one}" for one in rule.principals if one not in ("*", *names)
        ]
        problems += [f"rules.{index}: path {one!r} does not start with /" for one in rule.paths if one[:1] != ROOT]
    return problems


def _tokens(document: _Document, folder: Path, problems: list[str]) -> Mapping[bytes, str]:
    tokens: dict[bytes, str] = {}
    for principal in document.principals:
        for file in principal.token_files:
            token = _secret(folder / file, problems)
            digest = hashlib.sha256(token.encode()).digest()
            if token and tokens.setdefault(digest, principal.name) != principal.name:
                problems.append(f"{folder / file}: another principal has the same token")
    return tokens


def _access_keys(document: _Document, folder: Path, problems: list[str]) -> Mapping[str, AccessKey]:
    return {
        key.id: AccessKey(principal=principal.name, secret=_secret(folder / key.secret_file, problems))
        for principal in document.principals
        for key in principal.access_keys
    }


def _secret(path: Path, problems: list[str]) -> str:
    try:
        mode, text = path.stat().st_mode, path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{path} cannot be read: {getattr(error, 'strerror', 'not text')}")
        return ""
    if mode & 0o077:
        problems.append(f"{path} can be read by others: chmod 600 {path}")
    if len(text) < _LEAST_TOKEN:
        problems.append(f"{path} holds {len(text)} characters, at least {_LEAST_TOKEN} are needed")
    return text


def _stamps(path: Path) -> tuple[int, ...]:
    """Changes when the file or a file beside it does: secrets are replaced beside it."""
    try:
        files = [path, *sorted(path.parent.glob("*"))]
        return tuple(file.stat().st_mtime_ns for file in files if file.is_file() and _is_secret_like(file, path))
    except OSError:
        return ()


def _is_secret_like(file: Path, access_file: Path) -> bool:
    return file == access_file or file.suffix in (".token", ".secret")
