"""The operations of AWS Systems Manager Parameter Store, as JSON objects in and out, over a caller's session.

The shapes are those of the service model `ssm` 2014-11-06; a name is answered in the form in which it was asked for.
"""

import base64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

from services.config.filters import EQUALS, ONE_LEVEL, Filter, checked_filters
from services.config.guard import Session
from services.config.parameter import Parameter, ParameterType, Sealed, Tier
from services.config.path import parse_name, parse_selector
from services.config.policies import parse_policies, status_of
from services.config.ssm_request import Body, SsmError, invalid
from services.config.update import ParameterUpdate
from services.runtime import paging
from services.runtime.errors import InvalidArgumentError, NotFoundError

Reply: TypeAlias = dict[str, Any]

DEFAULT_KEY_ID = "alias/aws/ssm"
_MAX_NAMES = 10
_BY_PATH_PAGE = 10
_DESCRIBE_PAGE = 50
_ALL_VERSIONS = 100
_BY_PATH_KEYS = ("Type", "KeyId", "Label")
_TIERS = {"Standard": Tier.STANDARD, "Advanced": Tier.ADVANCED, "Intelligent-Tiering": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the service pretends to be: what ARNs are made of."""

    region: str
    account_id: str


class SsmOperations:
    """One caller's calls: each takes the body of a request and answers that of the reply.

    They raise PenstockError and SsmError.
    """

    def __init__(self, session: Session, place: Place, now: float) -> None:
        self._session = session
        self._place = place
        self._now = now

    async def put_parameter(self, body: Body) -> Reply:
        name, overwrite = body.text("Name"), body.flag("Overwrite")
        kind, tags = body.optional("Type"), body.tags("Tags")
        if name.startswith("arn:"):
            raise invalid("Name: an ARN is taken in reads only")
        if tags and overwrite:
            raise invalid("Tags and Overwrite cannot be used together: use AddTagsToResource")
        if kind is not None and kind not in list(ParameterType):
            raise SsmError("UnsupportedParameterType", f"The parameter type {kind} is not supported.")
        if body.optional("KeyId") and kind not in (None, ParameterType.SECURE_STRING):
            raise invalid("KeyId: only a SecureString has a key")
        tier = body.optional("Tier")
        if tier is not None and tier not in _TIERS:
            raise invalid(f"Tier: {tier!r} is not one of {', '.join(_TIERS)}")
        await self._require_type(name, kind)
        written = await self._session.put(
            ParameterUpdate(
                name=name,
                value=body.text("Value"),
                type=ParameterType(kind) if kind else None,
                expected_version=None if overwrite else 0,
                description=body.optional("Description"),
                allowed_pattern=body.optional("AllowedPattern"),
                data_type=body.optional("DataType"),
                tags=tags,
                tier=_TIERS[tier] if tier else None,
                default_tier=None if tier else Tier.STANDARD,
                policies=body.optional("Policies"),
                key_id=body.optional("KeyId"),
            )
        )
        return {"Version": written.version, "Tier": written.tier.value}

    async def get_parameter(self, body: Body) -> Reply:
        text, decrypt = _without_arn(body.text("Name")), body.flag("WithDecryption")
        try:
            found = await self._session.get(text, decrypt=decrypt)
        except NotFoundError:
            raise await self._not_found(text) from None
        return {"Parameter": self._parameter(found, text)}

    async def get_parameters(self, body: Body) -> Reply:
        names, decrypt = body.texts("Names", most=_MAX_NAMES), body.flag("WithDecryption")
        asked = {_without_arn(name): name for name in names}
        batch = await self._session.get_batch(list(asked), decrypt=decrypt)
        _require_decrypted(batch.parameters, decrypt=decrypt)
        found = iter(batch.parameters)
        missing = set(batch.missing)
        return {
            "Parameters": [self._parameter(next(found), text) for text in asked if text not in missing],
            "InvalidParameters": [asked[text] for text in batch.missing],
        }

    async def get_parameters_by_path(self, body: Body) -> Reply:
        path, decrypt = body.text("Path"), body.flag("WithDecryption")
        if not path.startswith("/"):
            raise invalid(f"Path: {path[:80]!r} does not start with /")
        if path.lower().startswith("/aws"):
            raise SsmError("AccessDeniedException", "No access to reserved parameter name.")
        page = await self._session.list_page(
            path,
            recursive=body.flag("Recursive"),
            page_size=body.number("MaxResults", default=_BY_PATH_PAGE, most=_BY_PATH_PAGE),
            token=body.optional("NextToken") or "",
            filters=checked_filters(_filters(body), keys=_BY_PATH_KEYS),
            decrypt=decrypt,
        )
        _require_decrypted(page.parameters, decrypt=decrypt)
        return _paged({"Parameters": [self._parameter(one) for one in page.parameters]}, page.next_token)

    async def describe_parameters(self, body: Body) -> Reply:
        page = await self._session.list_page(
            "/",
            recursive=True,
            page_size=body.number("MaxResults", default=_DESCRIBE_PAGE, most=_DESCRIBE_PAGE),
            token=body.optional("NextToken") or "",
            filters=checked_filters(_filters(body)),
        )
        described = [{**self._metadata(one), "ARN": self._arn(one.name)} for one in page.parameters]
        return _paged({"Parameters": described}, page.next_token)

    async def get_parameter_history(self, body: Body) -> Reply:
        text, decrypt = _without_arn(body.text("Name")), body.flag("WithDecryption")
        size = body.number("MaxResults", default=_DESCRIBE_PAGE, most=_DESCRIBE_PAGE)
        query = f"history {parse_name(text)}"
        after = paging.position_in(body.optional("NextToken") or "", query, int) or 0
        page = await self._session.versions_page(text, page_size=_ALL_VERSIONS, token="", decrypt=decrypt)
        _require_decrypted(page.parameters, decrypt=decrypt)
        later = [one for one in reversed(page.parameters) if one.version > after]
        shown = later[:size]
        entries = [{**self._metadata(one, text), "Value": _value(one), "Labels": list(one.labels)} for one in shown]
        return _paged(
            {"Parameters": entries},
            paging.page_token(query, str(shown[-1].version)) if len(later) > len(shown) else "",
        )

    async def label_parameter_version(self, body: Body) -> Reply:
        name = _without_arn(body.text("Name"))
        version = body.number("ParameterVersion", default=0, least=0) or None
        try:
            done = await self._session.label(name, body.texts("Labels"), version=version)
        except NotFoundError:
            raise await self._not_found(name if version is None else f"{name}:{version}") from None
        return {"InvalidLabels": list(done.invalid_labels), "ParameterVersion": done.version}

    async def unlabel_parameter_version(self, body: Body) -> Reply:
        name, version = _without_arn(body.text("Name")), body.number("ParameterVersion")
        try:
            done = await self._session.unlabel(name, body.texts("Labels"), version=version)
        except NotFoundError:
            raise await self._not_found(f"{name}:{version}") from None
        return {"RemovedLabels": list(done.removed), "InvalidLabels": list(done.invalid)}

    async def delete_parameter(self, body: Body) -> Reply:
        await self._session.delete(_without_arn(body.text("Name")))
        return {}

    async def delete_parameters(self, body: Body) -> Reply:
        deleted, missing = [], []
        for name in dict.fromkeys(body.texts("Names", most=_MAX_NAMES)):
            try:
                await self._session.delete(_without_arn(name))
            except NotFoundError:
                missing.append(name)
            else:
                deleted.append(name)
        return {"DeletedParameters": deleted, "InvalidParameters": missing}

    async def add_tags_to_resource(self, body: Body) -> Reply:
        await self._on_resource(body, lambda name: self._session.tag(name, body.tags("Tags")))
        return {}

    async def remove_tags_from_resource(self, body: Body) -> Reply:
        keys = body.texts("TagKeys", most=1000)
        await self._on_resource(body, lambda name: self._session.tag(name, {}, removed=keys))
        return {}

    async def list_tags_for_resource(self, body: Body) -> Reply:
        found = await self._on_resource(body, lambda name: self._session.get(name, decrypt=False))
        return {"TagList": [{"Key": key, "Value": value} for key, value in found.tags.items()]}

    async def _on_resource(self, body: Body, work: Callable[[str], Awaitable[Any]]) -> Any:
        kind, name = body.text("ResourceType"), _without_arn(body.text("ResourceId"))
        if kind != "Parameter":
            raise SsmError("InvalidResourceType", f"The resource type {kind} has no tags here: use Parameter.")
        try:
            return await work(name)
        except NotFoundError:
            raise SsmError("InvalidResourceId", f"There is no parameter {name}.") from None

    async def _require_type(self, name: str, kind: str | None) -> None:
        if kind is not None:
            return
        try:
            await self._session.get(parse_name(name), decrypt=False)
        except NotFoundError:
            raise invalid("Type: a parameter type is required when you create a parameter") from None
        except InvalidArgumentError:
            return  # the put names every fault of the request

    async def _not_found(self, text: str) -> SsmError:
        """Which of Parameter Store's errors it is when nothing is found under a selector."""
        selector = parse_selector(text)
        if selector.version is None and selector.label is None:
            return SsmError("ParameterNotFound", f"There is no parameter {text}.")
        try:
            await self._session.get(selector.name, decrypt=False)
        except NotFoundError:
            return SsmError("ParameterNotFound", f"There is no parameter {text}.")
        if selector.version is not None:
            return SsmError("ParameterVersionNotFound", f"{selector.name} has no version {selector.version}.")
        return SsmError("ParameterVersionLabelNotFound", f"{selector.name} has no label {selector.label}.")

    def _parameter(self, found: Parameter, asked: str = "") -> Reply:
        _, colon, selector = asked.strip().partition(":")
        reply = {
            "Name": _named(found.name, asked),
            "Type": found.type.value,
            "Value": _value(found),
            "Version": found.version,
            "LastModifiedDate": found.modified_at,
            "ARN": self._arn(found.name),
            "DataType": found.data_type,
        }
        return {**reply, "Selector": f":{selector}"} if colon else reply

    def _metadata(self, found: Parameter, asked: str = "") -> Reply:
        user = f"arn:aws:iam::{self._place.account_id}:user/{found.modified_by or 'anonymous'}"
        reply: Reply = {
            "Name": _named(found.name, asked),
            "Type": found.type.value,
            "LastModifiedDate": found.modified_at,
            "LastModifiedUser": user,
            "Version": found.version,
            "Tier": found.tier.value,
            "DataType": found.data_type,
            "Policies": [
                {
                    "PolicyText": policy.text,
                    "PolicyType": policy.type,
                    "PolicyStatus": status_of(policy, found, self._now),
                }
                for policy in (parse_policies(found.policies) if found.policies else ())
            ],
        }
        optional = {"Description": found.description, "AllowedPattern": found.allowed_pattern}
        if found.type is ParameterType.SECURE_STRING:
            optional["KeyId"] = found.key_id or DEFAULT_KEY_ID
        return {**reply, **{key: value for key, value in optional.items() if value}}

    def _arn(self, name: str) -> str:
        return f"arn:aws:ssm:{self._place.region}:{self._place.account_id}:parameter{name}"


def _paged(reply: Reply, token: str) -> Reply:
    return {**reply, "NextToken": token} if token else reply


def _value(parameter: Parameter) -> str:
    """A secret that is not decrypted shows its envelope, as the real service shows its ciphertext."""
    value = parameter.value
    return base64.b64encode(value.envelope).decode() if isinstance(value, Sealed) else value


def _named(name: str, asked: str) -> str:
    is_one_level = name.count("/") == 1
    return name[1:] if is_one_level and not asked.strip().startswith("/") else name


def _without_arn(text: str) -> str:
    """The name, with its selector, of a parameter's ARN; other texts as they are."""
    if not text.startswith("arn:"):
        return text
    parts = text.split(":", 5)
    resource = parts[-1] if len(parts) == 6 else ""  # noqa: PLR2004 - arn:aws:ssm:region:account:resource
    if parts[2:3] != ["ssm"] or not resource.startswith("parameter/"):
        raise invalid(f"{text[:120]!r} is not the ARN of a parameter")
    return resource.removeprefix("parameter")


def _require_decrypted(parameters: Sequence[Parameter], *, decrypt: bool) -> None:
    """A client that asked for decryption must not take a ciphertext for the secret."""
    for parameter in parameters:
        if decrypt and isinstance(parameter.value, Sealed):
            raise SsmError("AccessDeniedException", f"You may not decrypt {parameter.name}.")


def _filters(body: Body) -> list[Filter]:
    old, new = body.objects("Filters"), body.objects("ParameterFilters")
    if old and new:
        raise invalid("Filters and ParameterFilters cannot be used together")
    filters = [Filter(key=one.text("Key"), values=tuple(one.texts("Values", most=1000))) for one in old]
    for one in new:
        key = one.text("Key")
        option = one.optional("Option") or (ONE_LEVEL if key == "Path" else EQUALS)
        values = tuple(one.texts("Values", least=0, most=1000))
        filters.append(Filter(key=key, option=option, values=values))
    return filters


def reply_bytes(reply: Mapping[str, Any]) -> bytes:
    """A reply as it is sent."""
    return orjson.dumps(reply)
