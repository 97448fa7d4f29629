"""Settings of a process: read once from its environment and command line, checked whole, then passed on.

A service subclasses `ServiceSettings` with `model_config = settings_config("PENSTOCK_FILTERING_")` and one described
field per setting; the variable of `drain_seconds` is then `PENSTOCK_FILTERING_DRAIN_SECONDS`. A bad configuration is
refused with every problem at once. Constructing a settings class directly, as tests do, reads no environment.
"""

import argparse
import ipaddress
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args, get_origin

from pydantic import Field, FilePath, SecretBytes, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

Port = Annotated[int, Field(ge=0, le=65535)]
_MEBIBYTE = 1024 * 1024


class SettingsError(Exception):
    """A configuration that cannot be used; `problems` lists everything that is wrong with it, one sentence each."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(["The configuration has problems:", *(f"  - {problem}" for problem in problems)]))


def settings_config(prefix: str) -> SettingsConfigDict:
    """The `model_config` of a settings class whose variables begin with `prefix`, such as `PENSTOCK_FILTERING_`."""
    return SettingsConfigDict(
        env_prefix=prefix, frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True
    )


class ServiceSettings(BaseSettings):
    """What every service can be told. Subclasses add their own fields, each with a description."""

    model_config = settings_config("PENSTOCK_")

    host: str = Field(default="127.0.0.1", description="Address to listen on; beyond loopback it needs TLS.")
    port: Port = Field(default=0, description="Port of the gRPC API; 0 takes a free one.")
    metrics_port: Port = Field(default=0, description="Port of Prometheus's GET /metrics; 0 switches it off.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level logged.")
    access_log: Literal["off", "errors", "all"] = Field(
        default="errors", description="Which calls are logged: none, those that fail, or all of them."
    )
    tls_cert: FilePath | None = Field(default=None, description="PEM certificate chain of the server.")
    tls_key: FilePath | None = Field(default=None, description="PEM private key of the server.")
    tls_client_ca: FilePath | None = Field(
        default=None, description="PEM authorities of client certificates; when set, clients must present one."
    )
    insecure: bool = Field(default=False, description="Allows plain text on addresses beyond loopback.")
    drain_seconds: float = Field(default=10.0, ge=0, description="Seconds that calls in flight get at shutdown.")
    max_message_bytes: int = Field(
        default=16 * _MEBIBYTE, ge=1024, description="Largest gRPC message, in and out; larger: RESOURCE_EXHAUSTED."
    )
    max_concurrent_rpcs: int = Field(
        default=4096, ge=1, description="Calls served at the same time, streams included; more: RESOURCE_EXHAUSTED."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Constructor arguments only: `load_settings` reads the environment, so that all problems are found at once."""
        return (init_settings,)

    @classmethod
    def variable(cls, field: str) -> str:
        """The environment variable of a field."""
        return f"{cls.model_config.get('env_prefix', '')}{field}".upper()

    @classmethod
    def service_name(cls) -> str:
        """The name in the variables, in lower case: `filtering` for `PENSTOCK_FILTERING_*`."""
        return cls.variable("").removeprefix("PENSTOCK_").rstrip("_").lower()

    def conflicts(self) -> Iterator[str]:
        """Problems between fields, each a sentence that names the variables; subclasses extend it."""
        cert, key = self.variable("tls_cert"), self.variable("tls_key")
        if (self.tls_cert is None) != (self.tls_key is None):
            yield f"{cert} and {key} belong together: set both or none"
        elif self.tls_client_ca and not self.tls_cert:
            yield f"{self.variable('tls_client_ca')} needs {cert} and {key}"
        elif not (is_loopback(self.host) or self.tls_cert or self.insecure):
            yield (
                f"{self.variable('host')}={self.host!r} is not a loopback address: set {cert} and {key}, "
                f"or allow plain text with --insecure ({self.variable('insecure')}=true)"
            )

    @model_validator(mode="after")
    def _no_conflicts(self) -> Self:
        found = list(self.conflicts())
        if found:
            raise _ConflictError(found)
        return self


class ConfigClientSettings(ServiceSettings):
    """Settings of a service that follows parameters of the config service."""

    config_target: str = Field(default="127.0.0.1:50051", min_length=1, description="Address of the config service.")
    config_tls_ca: FilePath | None = Field(
        default=None, description="PEM authorities of its certificate; without it plain text."
    )
    config_token: SecretStr | None = Field(default=None, description="Token this process shows to the config service.")
    config_token_file: FilePath | None = Field(default=None, description="File that holds the token instead.")

    def conflicts(self) -> Iterator[str]:
        yield from super().conflicts()
        if self.config_token and self.config_token_file:
            yield f"set {self.variable('config_token')} or {self.variable('config_token_file')}, not both"

    def read_config_token(self) -> str:
        """The token, from its file if there is one; empty without."""
        if self.config_token_file:
            return self.config_token_file.read_text(encoding="ascii").strip()
        return self.config_token.get_secret_value() if self.config_token else ""


class _ConflictError(ValueError):
    """Carries the conflicts through pydantic's error list."""

    def __init__(self, conflicts: Sequence[str]) -> None:
        super().__init__("; ".join(conflicts))
        self.conflicts = tuple(conflicts)


S = TypeVar("S", bound=ServiceSettings)


def is_loopback(host: str) -> bool:
    """True for `localhost` and addresses that only this machine can reach."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def load_settings(
    cls: type[S], environ: Mapping[str, str] | None = None, overrides: Mapping[str, object] | None = None
) -> S:
    """The settings from `environ` (default: the process's environment), `overrides` by field name winning.

    Lists and tuples are given as `a,b,c`, mappings as JSON; an empty variable counts as not set.

    Raises:
        SettingsError: with every bad value, unknown `PENSTOCK_<SERVICE>_*` variable and conflict between fields.
    """
    environ = os.environ if environ is None else environ
    problems = _unknown_variables(cls, environ)
    values = {**_values(cls, environ, problems), **(overrides or {})}
    settings = _validated(cls, values, problems)
    if problems or settings is None:
        raise SettingsError(problems)
    return settings


def _unknown_variables(cls: type[ServiceSettings], environ: Mapping[str, str]) -> list[str]:
    known = {cls.variable(field) for field in cls.model_fields}
    prefix = cls.variable("")
    return [
        f"{name} is not a setting of this service; --help lists them"
        for name in sorted(environ)
        if name.startswith(prefix) and name not in known
    ]


def _values(cls: type[ServiceSettings], environ: Mapping[str, str], problems: list[str]) -> dict[str, object]:
    values: dict[str, object] = {}
    for name, field in cls.model_fields.items():
        text = environ.get(cls.variable(name), "")
        if not text:
            continue
        try:
            values[name] = _decoded(field, text)
        except ValueError as error:
            problems.append(f"{cls.variable(name)} is not valid JSON: {error}")
    return values


def _decoded(field: FieldInfo, text: str) -> object:
    origins = {get_origin(part) or part for part in _parts(field.annotation)}
    if origins & {list, tuple, set, frozenset}:
        return [item.strip() for item in text.split(",") if item.strip()]
    return json.loads(text) if origins & {dict, Mapping} else text


def _parts(annotation: Any) -> Iterator[Any]:
    """The annotation and everything inside it: `list[SecretStr] | None` has a list and a SecretStr."""
    yield annotation
    for part in get_args(annotation):
        yield from _parts(part)


def _validated(cls: type[S], values: Mapping[str, object], problems: list[str]) -> S | None:
    """The settings; None with the problems appended. Conflicts are looked for even beside bad values."""
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        faulty = _report(cls, values, error, problems)
    if faulty:
        try:
            cls.model_validate({name: value for name, value in values.items() if name not in faulty})
        except ValidationError as error:
            # A conflict with a field that is already reported may be a consequence of it.
            beside: list[str] = []
            _report(cls, {}, error, beside)
            reported = {cls.variable(name) for name in faulty}
            problems.extend(text for text in beside if not any(name in text for name in reported))
    return None


def _report(
    cls: type[ServiceSettings], values: Mapping[str, object], error: ValidationError, problems: list[str]
) -> set[str]:
    faulty = set()
    for item in error.errors(include_url=False):
        if not item["loc"]:
            conflict = item.get("ctx", {}).get("error")
            problems.extend(conflict.conflicts if isinstance(conflict, _ConflictError) else [item["msg"]])
            continue
        name = str(item["loc"][0])
        faulty.add(name)
        given = f"={values[name]!r}" if name in values and not _is_secret(cls.model_fields.get(name)) else ""
        problems.append(f"{cls.variable(name)}{given}: {item['msg']}")
    return faulty


def _is_secret(field: FieldInfo | None) -> bool:
    return field is not None and any(part in (SecretStr, SecretBytes) for part in _parts(field.annotation))


def parse_command_line(cls: type[S], *, prog: str, description: str, argv: Sequence[str] | None = None) -> S:
    """The settings of a process started by hand: the environment, and the few options that only a person gives.

    `--help` lists every variable; `--check` validates the settings and ends with exit code 0.

    Raises:
        SettingsError: see `load_settings`.
    """
    parser = argparse.ArgumentParser(
        prog=prog, description=description, epilog=_epilog(cls), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--insecure", action="store_true", help="allow plain text on addresses beyond loopback")
    parser.add_argument("--check", action="store_true", help="validate the settings and exit")
    options = parser.parse_args(argv)
    settings = load_settings(cls, overrides={"insecure": True} if options.insecure else {})
    if options.check:
        parser.exit(0, f"{prog}: the settings are valid\n")
    return settings


def _epilog(cls: type[ServiceSettings]) -> str:
    lines = ["environment variables:"]
    for name, field in cls.model_fields.items():
        lines += [f"  {cls.variable(name)} ({_default_text(field)})", f"      {field.description or ''}"]
    return "\n".join(lines)


def _default_text(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True, validated_data={})
    if default is PydanticUndefined:
        return "required"
    if default is None:
        return "not set"
    if isinstance(default, SecretStr | SecretBytes):
        return "secret, has a default"
    if isinstance(default, tuple | list | set | frozenset):
        return f"default {','.join(map(str, default)) or 'empty'}"
    return f"default {default.as_posix() if isinstance(default, Path) else default}"
