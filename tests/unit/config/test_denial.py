"""Deny by default over every call there is: one that is added and has no entry here fails."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from google.protobuf.message import Message
from penstock.config.v1 import config_service_pb2 as pb

from services.config.access_file import AccessControl
from services.config.guard import Guard
from services.config.http_endpoint import HttpRequest
from services.config.identity import CallerIdentity
from services.config.servicer import ConfigServicer
from services.config.ssm import Place, SsmOperations
from services.config.ssm_http import SsmHttp
from services.config.ssm_request import Body, SsmError
from services.runtime.errors import PenstockError, UnauthenticatedError
from tests.unit.config.test_access import ACCESS, fill, guard_of

CALLS: Mapping[str, Message] = {
    "PutParameter": pb.PutParameterRequest(name="/a/s", value="v"),
    "GetParameter": pb.GetParameterRequest(name="/a/s", with_decryption=True),
    "BatchGetParameters": pb.BatchGetParametersRequest(names=["/a/s", "/b"], with_decryption=True),
    "ListParameters": pb.ListParametersRequest(path="/", recursive=True, with_decryption=True),
    "DeleteParameter": pb.DeleteParameterRequest(name="/a/s"),
    "ListParameterVersions": pb.ListParameterVersionsRequest(name="/a/s", with_decryption=True),
    "LabelParameterVersion": pb.LabelParameterVersionRequest(name="/a/s", labels=["x"]),
    "UnlabelParameterVersion": pb.UnlabelParameterVersionRequest(name="/a/s", labels=["x"], version=2),
    "TagParameter": pb.TagParameterRequest(name="/a/s", tags={"k": "v"}),
    "ExplainAccess": pb.ExplainAccessRequest(name="/a/s"),
    "WatchParameters": pb.WatchParametersRequest(path="/", with_decryption=True),
}
ON_RESOURCE = {"ResourceType": "Parameter", "ResourceId": "/a/s"}
OPERATIONS: Mapping[str, Mapping[str, Any]] = {
    "put_parameter": {"Name": "/a/s", "Value": "v", "Type": "SecureString", "Overwrite": True},
    "get_parameter": {"Name": "/a/s", "WithDecryption": True},
    "get_parameters": {"Names": ["/a/s", "/b"], "WithDecryption": True},
    "get_parameters_by_path": {"Path": "/", "Recursive": True, "WithDecryption": True},
    "describe_parameters": {},
    "get_parameter_history": {"Name": "/a/s", "WithDecryption": True},
    "label_parameter_version": {"Name": "/a/s", "Labels": ["x"]},
    "unlabel_parameter_version": {"Name": "/a/s", "Labels": ["x"], "ParameterVersion": 2},
    "delete_parameter": {"Name": "/a/s"},
    "delete_parameters": {"Names": ["/a/s", "/b"]},
    "add_tags_to_resource": {**ON_RESOURCE, "Tags": [{"Key": "k", "Value": "v"}]},
    "remove_tags_from_resource": {**ON_RESOURCE, "TagKeys": ["k"]},
    "list_tags_for_resource": ON_RESOURCE,
}
PLACE = Place(region="eu-west-1", account_id="000000000000")


class Caller:
    """A call's context: what it proves, and what a watch writes until everything of before is told."""

    def __init__(self, principal: str = "") -> None:
        self.principal = principal
        self.generation = 0
        self.written: list[bytes] = []

    def of(self, _context: object) -> str:
        return self.principal

    def invocation_metadata(self) -> tuple[()]:
        return ()

    def auth_context(self) -> Mapping[str, list[bytes]]:
        return {}

    async def write(self, event: bytes) -> None:
        told = pb.WatchParametersResponse.FromString(event)
        if told.HasField("bookmark"):
            raise ToldAllError
        self.written.append(event)


class ToldAllError(Exception):
    """Ends a watch."""


async def called(guard: Guard, principal: str, method: str) -> str:
    """What a call is answered: the error, or the reply without the revision of the store."""
    caller: Any = Caller(principal)
    servicer = ConfigServicer(guard, caller)
    try:
        reply = await getattr(servicer, method)(CALLS[method], caller)
    except ToldAllError:
        return repr(caller.written)
    except PenstockError as error:
        return f"{type(error).__name__}: {error.message}"
    if "revision" in reply.DESCRIPTOR.fields_by_name:
        reply.ClearField("revision")
    return str(reply)


async def operated(guard: Guard, principal: str, operation: str) -> str:
    operations = SsmOperations(guard.session(principal), PLACE, 0.0)
    try:
        return repr(await getattr(operations, operation)(Body(OPERATIONS[operation])))
    except (PenstockError, SsmError) as error:
        return f"{type(error).__name__}: {error.message}"


async def revision_of(guard: Guard) -> int:
    return (await guard.registry.get_batch(["/a/s"])).revision


def test_every_call_of_both_protocols_is_here() -> None:
    """So that a new one is not without a rule."""
    assert set(CALLS) == set(pb.DESCRIPTOR.services_by_name["ConfigService"].methods_by_name)
    assert set(OPERATIONS) == {name for name in vars(SsmOperations) if not name.startswith("_")}


@pytest.mark.parametrize(
    ("call", "name"), [*((called, one) for one in CALLS), *((operated, one) for one in OPERATIONS)]
)
async def test_whom_no_rule_allows_anything_a_full_store_looks_empty(call: Any, name: str) -> None:
    """Whatever is called is answered as by a store in which there is nothing, and changes nothing."""
    full, empty = guard_of(), guard_of()
    await fill(full)
    before = await revision_of(full)
    denied = await call(full, "reader", name)
    assert denied == await call(empty, "reader", name)
    assert (await revision_of(full), await revision_of(empty)) == (before, 0)
    allowed = await call(full, "owner", name)
    assert allowed != denied, "the call shows and does nothing: it proves nothing here"
    assert "Error: " not in allowed, "the call is not well-formed: it proves nothing here"


@pytest.mark.parametrize("method", CALLS)
async def test_no_call_is_answered_without_a_proof_of_who_calls(method: str, tmp_path: Path) -> None:
    """Where access control is on, whatever the rules are."""
    token = tmp_path / "billing.token"
    token.write_text("a-token-of-some-length")
    token.chmod(0o600)
    (tmp_path / "access.toml").write_text(ACCESS)
    servicer = ConfigServicer(guard_of(), CallerIdentity(AccessControl(tmp_path / "access.toml")))
    stranger: Any = Caller()
    with pytest.raises(UnauthenticatedError):
        await getattr(servicer, method)(CALLS[method], stranger)
    assert stranger.written == []


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_no_operation_is_answered_without_a_signature(operation: str) -> None:
    """Where access control is on, whatever is asked."""
    endpoint = SsmHttp(guard_of(), PLACE, keys=lambda _key_id: None)
    target = f"AmazonSSM.{operation.replace('_', ' ').title().replace(' ', '')}"
    body = orjson.dumps(OPERATIONS[operation])
    request = HttpRequest(method="POST", path="/", headers={"x-amz-target": target}, body=body)
    answer = await endpoint.answer(request)
    assert answer.status == 400
    assert orjson.loads(answer.body)["__type"] == "MissingAuthenticationTokenException"
