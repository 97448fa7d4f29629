"""The functions that can be invoked, read from one TOML or JSON file."""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, DirectoryPath, Field, ValidationError

REGION = "us-east-1"
ACCOUNT = "123456789012"
# API_Invoke, FunctionName: a name, a partial ARN or an ARN, each with an optional qualifier.
_REFERENCE = re.compile(
    r"(?:arn:aws[a-z-]*:lambda:[a-z0-9-]+:)?(?:\d{12}:)?(?:function:)?(?P<name>[a-zA-Z0-9_-]{1,64})"
    r"(?::(?P<qualifier>\$LATEST|[a-zA-Z0-9_-]+))?"
)


class FunctionFileError(ValueError):
    """The file of functions cannot be used; the message names every fault."""


class FunctionSpec(BaseModel):
    """One function: `handler` is `module.function`, found in the folder `code`; times are seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    handler: Annotated[str, Field(pattern=r"^[^\s.][^\s]*\.[^\s.]+$")]
    code: DirectoryPath
    timeout: Annotated[float, Field(gt=0, le=900)] = 3.0  # Lambda's default and limit
    init_timeout: Annotated[float, Field(gt=0, le=900)] = 30.0  # Lambda allows 10 s; a busy laptop needs more
    concurrency: Annotated[int, Field(ge=1, le=1000)] = 10
    environment: Mapping[str, str] = {}

    @property
    def arn(self) -> str:
        return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{self.name}"


def function_name(reference: str) -> str | None:
    """The bare name within a name, partial ARN or ARN; None when `reference` is none of them."""
    match = _REFERENCE.fullmatch(reference)
    return match["name"] if match else None


def load_functions(path: Path) -> Mapping[str, FunctionSpec]:
    """Read `{"functions": {"<name>": {"handler": …, "code": …}}}`, TOML or (suffix .json) JSON.

    `code` is relative to the file. Raises `FunctionFileError` with all faults.
    """
    try:
        text = path.read_text(encoding="utf-8")
        document = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise FunctionFileError(f"{path}: {error}") from error
    table = document.get("functions") if isinstance(document, dict) else None
    if not isinstance(table, dict):
        raise FunctionFileError(f'{path}: a table "functions" with one entry per function is missing')
    functions: dict[str, FunctionSpec] = {}
    faults: list[str] = []
    for name, fields in table.items():
        try:
            functions[name] = _function(name, fields, path.parent)
        except ValidationError as error:
            faults += [_fault(name, item) for item in error.errors(include_url=False)]
    if faults:
        raise FunctionFileError(f"{path}: " + "; ".join(faults))
    return functions


def _function(name: str, fields: Any, folder: Path) -> FunctionSpec:
    if not isinstance(fields, dict):
        return FunctionSpec.model_validate(fields)
    code = fields.get("code", ".")
    located = {"code": (folder / code).resolve()} if isinstance(code, str) else {}
    return FunctionSpec.model_validate({**fields, **located, "name": name})


def _fault(name: str, item: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in item["loc"])
    return f"functions.{name}{'.' + where if where else ''}: {item['msg']} (got {item['input']!r})"
