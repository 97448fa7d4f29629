"""The SSM protocol: unmodified boto3 and powertools against the config service as a process, limits on both sides."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import grpc
import pytest
from aws_lambda_powertools.utilities.parameters import SSMProvider
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, SSLError

from deploy.local.part import PartNotReadyError, PartSpec
from deploy.local.ports import free_port_numbers
from deploy.local.services import python_process
from services.runtime.channel import open_channel
from tests.integration.conftest import running
from tests.integration.parts import RunningPart
from tests.integration.test_runtime_tls import authority, healthy

KEY_ID, SECRET = "AKIAPENSTOCKTEST", "a-secret-of-the-test-client"

ACCESS = f"""
[[principals]]
name = "owner"
access_keys = [{{ id = "{KEY_ID}", secret_file = "owner.secret" }}]

[[rules]]
principals = ["owner"]
actions = ["read", "decrypt", "write", "delete", "label", "watch"]
paths = ["/"]

[[rules]]
principals = ["owner"]
actions = ["read", "write", "decrypt"]
paths = ["/forbidden"]
effect = "deny"

[[rules]]
principals = ["owner"]
actions = ["decrypt"]
paths = ["/sealed"]
effect = "deny"
"""


def describe(data_directory: Path) -> PartSpec:
    port, ssm = free_port_numbers(2)
    data_directory.mkdir(parents=True, exist_ok=True)
    (data_directory / "access.toml").write_text(ACCESS)
    secret = data_directory / "owner.secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    return python_process(
        "config",
        "services.config",
        environment={
            "PENSTOCK_CONFIG_PORT": str(port),
            "PENSTOCK_CONFIG_METRICS_PORT": "0",
            "PENSTOCK_CONFIG_SSM_PORT": str(ssm),
            "PENSTOCK_CONFIG_DATABASE": str(data_directory / "parameters.sqlite3"),
            "PENSTOCK_CONFIG_KEY_FILE": str(data_directory / "secret.key"),
            "PENSTOCK_CONFIG_ACCESS_FILE": str(data_directory / "access.toml"),
        },
        data_directory=data_directory,
        addresses={"grpc": f"127.0.0.1:{port}", "ssm": f"127.0.0.1:{ssm}"},
    )


@asynccontextmanager
async def service(directory: Path) -> AsyncIterator[RunningPart]:
    async with running(partial(describe), directory) as part:
        yield part


@pytest.fixture(scope="module")
async def part(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningPart]:
    async with service(tmp_path_factory.mktemp("ssm")) as part:
        yield part


def client_of(
    part: RunningPart,
    *,
    key_id: str = KEY_ID,
    secret: str = SECRET,
    region: str = "eu-west-1",
    scheme: str = "http",
    trusted: Path | None = None,
) -> Any:
    return boto3.client(
        "ssm",
        endpoint_url=f"{scheme}://{part.addresses['ssm']}",
        verify=trusted and str(trusted),
        region_name=region,
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
        config=Config(retries={"total_max_attempts": 1}, proxies={}),
    )


@pytest.fixture(scope="module")
def ssm(part: RunningPart) -> Iterator[Any]:
    client = client_of(part)
    yield client
    client.close()


def code_of(call: Any, **arguments: Any) -> str:
    """The error code that a call must be answered with."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"])


def put(ssm: Any, name: str, value: str = "v", **fields: Any) -> Any:
    return ssm.put_parameter(**{"Name": name, "Value": value, "Type": "String", **fields})


def test_a_parameter_is_put_and_read(ssm: Any) -> None:
    """Every member that boto3 promises, with the region of the client in the ARN."""
    written = put(ssm, "/app/colour", "blue")
    assert (written["Version"], written["Tier"]) == (1, "Standard")
    found = ssm.get_parameter(Name="/app/colour")["Parameter"]
    assert (found["Name"], found["Type"], found["Value"], found["Version"]) == ("/app/colour", "String", "blue", 1)
    assert found["ARN"] == "arn:aws:ssm:eu-west-1:000000000000:parameter/app/colour"
    assert (found["DataType"], "Selector" in found) == ("text", False)
    assert found["LastModifiedDate"].tzinfo is not None
    assert ssm.get_parameter(Name=found["ARN"])["Parameter"]["Value"] == "blue"


def test_a_one_level_name_is_the_same_with_and_without_its_slash(ssm: Any) -> None:
    """It is answered as it was asked for."""
    put(ssm, "single", "v")
    assert ssm.get_parameter(Name="single")["Parameter"]["Name"] == "single"
    assert ssm.get_parameter(Name="/single")["Parameter"]["Name"] == "/single"
    assert code_of(ssm.put_parameter, Name="/single", Value="x", Type="String") == "ParameterAlreadyExists"


def test_selectors_name_versions_and_labels(ssm: Any) -> None:
    """By name:version, name:label, and an ARN with one; what is not there has an error of its own."""
    put(ssm, "/sel/a", "one")
    put(ssm, "/sel/a", "two", Overwrite=True)
    labelled = ssm.label_parameter_version(Name="/sel/a", ParameterVersion=1, Labels=["good", "1bad", "aws-bad"])
    assert (labelled["InvalidLabels"], labelled["ParameterVersion"]) == (["1bad", "aws-bad"], 1)
    arn = ssm.get_parameter(Name="/sel/a")["Parameter"]["ARN"]
    for selector, value in ((":1", "one"), (":2", "two"), (":good", "one")):
        for name in ("/sel/a", arn):
            found = ssm.get_parameter(Name=f"{name}{selector}")["Parameter"]
            assert (found["Name"], found["Value"], found["Selector"]) == ("/sel/a", value, selector)
    assert code_of(ssm.get_parameter, Name="/sel/a:3") == "ParameterVersionNotFound"
    assert code_of(ssm.get_parameter, Name="/sel/a:other") == "ParameterVersionLabelNotFound"
    assert code_of(ssm.get_parameter, Name="/sel/none:1") == "ParameterNotFound"
    assert code_of(ssm.label_parameter_version, Name="/sel/a", ParameterVersion=9, Labels=["x"]) == (
        "ParameterVersionNotFound"
    )
    removed = ssm.unlabel_parameter_version(Name="/sel/a", ParameterVersion=1, Labels=["good", "other"])
    assert (removed["RemovedLabels"], removed["InvalidLabels"]) == (["good"], ["other"])
    assert code_of(ssm.get_parameter, Name="/sel/a:good") == "ParameterVersionLabelNotFound"


def test_a_batch_tells_what_is_missing(ssm: Any) -> None:
    """Duplicates collapse; an unknown name is no error; eleven names are."""
    put(ssm, "/batch/a", "1")
    put(ssm, "/batch/b", "2")
    found = ssm.get_parameters(Names=["/batch/b", "/batch/none", "/batch/a:1", "/batch/b"])
    assert [(one["Name"], one["Value"]) for one in found["Parameters"]] == [("/batch/b", "2"), ("/batch/a", "1")]
    assert found["InvalidParameters"] == ["/batch/none"]
    assert code_of(ssm.get_parameters, Names=[f"/batch/{n}" for n in range(11)]) == "ValidationException"


def test_secrets_are_shown_only_decrypted(ssm: Any, part: RunningPart) -> None:
    """Otherwise their envelope; whoever may not decrypt is refused rather than given the envelope for the secret."""
    put(ssm, "/secret/a", "s3cret-text", Type="SecureString")
    sealed = ssm.get_parameter(Name="/secret/a")["Parameter"]
    assert "s3cret" not in sealed["Value"]
    assert ssm.get_parameter(Name="/secret/a", WithDecryption=True)["Parameter"]["Value"] == "s3cret-text"
    page = ssm.get_parameters_by_path(Path="/secret", WithDecryption=True)
    assert [one["Value"] for one in page["Parameters"]] == ["s3cret-text"]
    history = ssm.get_parameter_history(Name="/secret/a", WithDecryption=True)["Parameters"]
    assert (history[0]["Value"], history[0]["KeyId"]) == ("s3cret-text", "alias/aws/ssm")
    put(ssm, "/sealed/a", "other-s3cret", Type="SecureString")
    assert "s3cret" not in ssm.get_parameter(Name="/sealed/a")["Parameter"]["Value"]
    for call, arguments in (
        (ssm.get_parameter, {"Name": "/sealed/a"}),
        (ssm.get_parameters, {"Names": ["/sealed/a"]}),
        (ssm.get_parameters_by_path, {"Path": "/sealed"}),
        (ssm.get_parameter_history, {"Name": "/sealed/a"}),
    ):
        assert code_of(call, **arguments, WithDecryption=True) == "AccessDeniedException"
    files = [path.read_bytes() for path in part.spec.data_directory.rglob("*") if path.is_file()]
    assert not any(b"s3cret" in content for content in files)


def test_what_may_not_be_read_is_as_if_it_were_not_there(ssm: Any) -> None:
    """In a get, a batch, by path, in descriptions and history; a write is refused by name."""
    assert code_of(ssm.put_parameter, Name="/forbidden/a", Value="v", Type="String") == "AccessDeniedException"
    assert code_of(ssm.get_parameter, Name="/forbidden/a") == "ParameterNotFound"
    assert code_of(ssm.get_parameter_history, Name="/forbidden/a") == "ParameterNotFound"
    assert ssm.get_parameters(Names=["/forbidden/a"])["InvalidParameters"] == ["/forbidden/a"]


def test_paths_are_listed_in_pages(ssm: Any) -> None:
    """At most ten each, in the order of names; with and without the deeper levels; filtered by type and label."""
    names = [f"/pages/{number:02}" for number in range(25)]
    for name in names:
        put(ssm, name, "v", Type="StringList" if name.endswith("7") else "String")
    put(ssm, "/pages/deep/er", "v")
    pages = list(ssm.get_paginator("get_parameters_by_path").paginate(Path="/pages", Recursive=True))
    assert [len(page["Parameters"]) for page in pages] == [10, 10, 6]
    assert [one["Name"] for page in pages for one in page["Parameters"]] == [*names, "/pages/deep/er"]
    flat = ssm.get_paginator("get_parameters_by_path").paginate(Path="/pages/").build_full_result()
    assert [one["Name"] for one in flat["Parameters"]] == names
    lists = ssm.get_parameters_by_path(Path="/pages", ParameterFilters=[{"Key": "Type", "Values": ["StringList"]}])
    assert [one["Name"] for one in lists["Parameters"]] == ["/pages/07", "/pages/17"]
    ssm.label_parameter_version(Name="/pages/03", Labels=["stable"])
    put(ssm, "/pages/03", "new", Overwrite=True)
    stable = ssm.get_parameters_by_path(
        Path="/pages", ParameterFilters=[{"Key": "Label", "Option": "Equals", "Values": ["stable"]}]
    )
    assert [(one["Name"], one["Version"]) for one in stable["Parameters"]] == [("/pages/03", 1)]


async def test_a_page_token_survives_a_restart(tmp_path: Path) -> None:
    """And is good for its query alone; a damaged one is InvalidNextToken."""
    async with service(tmp_path) as part:
        ssm = client_of(part)
        for number in range(12):
            await asyncio.to_thread(put, ssm, f"/t/{number:02}")
        first = await asyncio.to_thread(ssm.get_parameters_by_path, Path="/t", MaxResults=5)
        await part.kill()
        await part.start()
        token = first["NextToken"]
        second = await asyncio.to_thread(ssm.get_parameters_by_path, Path="/t", MaxResults=10, NextToken=token)
        assert [one["Name"] for one in second["Parameters"]] == [f"/t/{number:02}" for number in range(5, 12)]
        assert "NextToken" not in second
        for path, wrong in (("/", token), ("/t", f"{token}x"), ("/t", "nonsense")):
            code = await asyncio.to_thread(code_of, ssm.get_parameters_by_path, Path=path, NextToken=wrong)
            assert code == "InvalidNextToken"
        ssm.close()


def test_descriptions_are_filtered(ssm: Any) -> None:
    """By name, path, tag, tier and data type, in the old form and the new one; never with a value."""
    put(ssm, "/described/one", "1", DataType="integer", Tags=[{"Key": "team", "Value": "lab"}], Description="first")
    put(ssm, "/described/deep/two", "x" * 5000, Tier="Intelligent-Tiering", Tags=[{"Key": "team", "Value": "web"}])
    put(ssm, "/described/three", "s", Type="SecureString", KeyId="alias/mine")

    def named(*filters: Mapping[str, object]) -> list[str]:
        found = ssm.describe_parameters(ParameterFilters=list(filters))["Parameters"]
        assert not any("Value" in one for one in found)
        return [one["Name"] for one in found]

    below = {"Key": "Path", "Option": "Recursive", "Values": ["/described"]}
    everything = ["/described/deep/two", "/described/one", "/described/three"]
    assert named(below) == everything
    assert named({"Key": "Path", "Values": ["/described"]}) == ["/described/one", "/described/three"]
    assert named({"Key": "tag:team", "Values": ["lab"]}, below) == ["/described/one"]
    assert named({"Key": "tag:team"}, below) == ["/described/deep/two", "/described/one"]
    assert named({"Key": "Tier", "Values": ["Advanced"]}, below) == ["/described/deep/two"]
    assert named({"Key": "DataType", "Values": ["integer"]}, below) == ["/described/one"]
    assert named({"Key": "KeyId", "Values": ["alias/mine"]}) == ["/described/three"]
    assert named({"Key": "Name", "Option": "BeginsWith", "Values": ["/described/t", "/described/o"]}) == everything[1:]
    assert named({"Key": "Name", "Option": "Contains", "Values": ["ribed/th"]}) == ["/described/three"]
    old = ssm.describe_parameters(Filters=[{"Key": "Name", "Values": ["/described/one"]}])["Parameters"]
    assert [(one["Name"], one["Description"], one["LastModifiedUser"]) for one in old] == [
        ("/described/one", "first", "arn:aws:iam::000000000000:user/owner")
    ]
    bad = {"Key": "Name", "Values": ["x"]}
    assert code_of(ssm.describe_parameters, ParameterFilters=[bad], Filters=[bad]) == "ValidationException"
    assert code_of(ssm.describe_parameters, ParameterFilters=[{**bad, "Key": "Colour"}]) == "InvalidFilterKey"
    assert code_of(ssm.describe_parameters, ParameterFilters=[{**bad, "Option": "Like"}]) == "InvalidFilterOption"
    assert code_of(ssm.describe_parameters, ParameterFilters=[{"Key": "Name"}]) == "InvalidFilterValue"


def test_history_tells_every_version_oldest_first(ssm: Any) -> None:
    """With value, labels, tier and author, in pages."""
    for number in range(5):
        put(ssm, "/history/a", str(number), Overwrite=number > 0)
    ssm.label_parameter_version(Name="/history/a", ParameterVersion=2, Labels=["stable"])
    pages = ssm.get_paginator("get_parameter_history").paginate(Name="/history/a", PaginationConfig={"PageSize": 2})
    found = [one for page in pages for one in page["Parameters"]]
    assert [(one["Version"], one["Value"], one["Labels"]) for one in found] == [
        (1, "0", []), (2, "1", ["stable"]), (3, "2", []), (4, "3", []), (5, "4", [])
    ]  # fmt: skip
    assert found[0]["LastModifiedUser"].endswith("/owner")


def test_policies_are_described_with_their_status(ssm: Any) -> None:
    """They make the parameter Advanced, and stay until others come."""
    policies = [
        {"Type": "Expiration", "Version": "1.0", "Attributes": {"Timestamp": "2090-01-01T00:00:00.000Z"}},
        {"Type": "NoChangeNotification", "Version": "1.0", "Attributes": {"After": "20", "Unit": "Days"}},
    ]
    written = put(ssm, "/policies/a", Policies=json.dumps(policies), Tier="Advanced")
    assert written["Tier"] == "Advanced"
    put(ssm, "/policies/a", "w", Overwrite=True)
    shown = ssm.describe_parameters(Filters=[{"Key": "Name", "Values": ["/policies/a"]}])["Parameters"][0]["Policies"]
    assert [(one["PolicyType"], one["PolicyStatus"]) for one in shown] == [
        ("Expiration", "Pending"),
        ("NoChangeNotification", "Pending"),
    ]
    assert json.loads(shown[0]["PolicyText"]) == policies[0]
    put(ssm, "/policies/a", "w", Overwrite=True, Policies="[]")
    shown = ssm.describe_parameters(Filters=[{"Key": "Name", "Values": ["/policies/a"]}])["Parameters"][0]
    assert (shown["Policies"], shown["Tier"]) == ([], "Advanced")


def test_deleting_tells_what_was_there(ssm: Any) -> None:
    """One by one, and several at once."""
    for name in ("/gone/a", "/gone/b"):
        put(ssm, name)
    ssm.delete_parameter(Name="/gone/a")
    assert code_of(ssm.delete_parameter, Name="/gone/a") == "ParameterNotFound"
    done = ssm.delete_parameters(Names=["/gone/a", "/gone/b"])
    assert (done["DeletedParameters"], done["InvalidParameters"]) == (["/gone/b"], ["/gone/a"])


def test_tags_are_set_listed_and_removed(ssm: Any) -> None:
    """Without a new version; at most 50."""
    put(ssm, "/tags/a", Tags=[{"Key": "team", "Value": "lab"}])
    resource = {"ResourceType": "Parameter", "ResourceId": "/tags/a"}
    ssm.add_tags_to_resource(**resource, Tags=[{"Key": "team", "Value": "web"}, {"Key": "höhe", "Value": "1 m"}])
    listed = ssm.list_tags_for_resource(**resource)["TagList"]
    assert {one["Key"]: one["Value"] for one in listed} == {"team": "web", "höhe": "1 m"}
    ssm.remove_tags_from_resource(**resource, TagKeys=["team", "none"])
    assert [one["Key"] for one in ssm.list_tags_for_resource(**resource)["TagList"]] == ["höhe"]
    assert ssm.get_parameter(Name="/tags/a")["Parameter"]["Version"] == 1
    many = [{"Key": f"k{number}", "Value": ""} for number in range(49)]
    ssm.add_tags_to_resource(**resource, Tags=many)
    one_more = [{"Key": "one", "Value": "more"}]
    assert code_of(ssm.add_tags_to_resource, **resource, Tags=one_more) == "TooManyTagsError"
    missing = {"ResourceType": "Parameter", "ResourceId": "/tags/none"}
    assert code_of(ssm.list_tags_for_resource, **missing) == "InvalidResourceId"
    other = {"ResourceType": "Document", "ResourceId": "/tags/a"}
    assert code_of(ssm.list_tags_for_resource, **other) == "InvalidResourceType"


OK = ""
EXPIRY = {"Type": "Expiration", "Version": "1.0", "Attributes": {"Timestamp": "2090-01-01T00:00:00.000Z"}}
BEFORE = {"Type": "ExpirationNotification", "Version": "1.0", "Attributes": {"Before": "15", "Unit": "Days"}}


def levels(count: int) -> str:
    return "".join(f"/l{number}" for number in range(count))


def policies(*entries: object) -> dict[str, str]:
    return {"Policies": json.dumps(entries), "Tier": "Advanced"}


LIMITS: list[tuple[str, dict[str, Any], str]] = [
    ("15 levels", {"Name": levels(15)}, OK),
    ("16 levels", {"Name": levels(16)}, "HierarchyLevelLimitExceededException"),
    ("966 characters", {"Name": f"/{'n' * 966}"}, OK),
    ("967 characters", {"Name": f"/{'n' * 967}"}, "ValidationException"),
    ("every character", {"Name": "/azAZ09_.-/x"}, OK),
    ("a strange character", {"Name": "/a!b"}, "ValidationException"),
    ("blanks around", {"Name": "  /limits/blanks  "}, OK),
    ("a blank inside", {"Name": "/a b"}, "ValidationException"),
    ("an empty level", {"Name": "/a//b"}, "ValidationException"),
    ("no first slash", {"Name": "a/b"}, "ValidationException"),
    ("awry", {"Name": "/limits/aws"}, OK),
    ("aws", {"Name": "/AwS/a"}, "ValidationException"),
    ("ssm", {"Name": "ssm-a"}, "ValidationException"),
    ("an ARN", {"Name": "arn:aws:ssm:eu-west-1:000000000000:parameter/a"}, "ValidationException"),
    ("Standard 4096", {"Value": "x" * 4096}, OK),
    ("Standard 4097", {"Value": "x" * 4097}, "ValidationException"),
    ("Advanced 8192", {"Value": "x" * 8192, "Tier": "Advanced"}, OK),
    ("Advanced 8193", {"Value": "x" * 8193, "Tier": "Advanced"}, "ValidationException"),
    ("Intelligent 4097", {"Value": "x" * 4097, "Tier": "Intelligent-Tiering"}, OK),
    ("an unknown tier", {"Tier": "Gold"}, "ValidationException"),
    ("one character", {"Value": "x"}, OK),
    ("an empty value", {"Value": ""}, "ValidationException"),
    ("one brace", {"Value": "{x}"}, OK),
    ("a reference", {"Value": "{{ssm:x}}"}, "ValidationException"),
    ("no type", {"Type": None}, "ValidationException"),
    ("an unknown type", {"Type": "Number"}, "UnsupportedParameterType"),
    ("description 1024", {"Description": "x" * 1024}, OK),
    ("description 1025", {"Description": "x" * 1025}, "ValidationException"),
    ("pattern 1024", {"AllowedPattern": "v|" * 512}, OK),
    ("pattern 1025", {"AllowedPattern": "v|" * 512 + "v"}, "ValidationException"),
    ("a pattern that matches", {"AllowedPattern": "[a-z]+"}, OK),
    ("a pattern that does not", {"AllowedPattern": "[0-9]+"}, "ParameterPatternMismatchException"),
    ("a pattern that is none", {"AllowedPattern": "("}, "InvalidAllowedPatternException"),
    ("key id 256", {"Type": "SecureString", "KeyId": "k" * 256}, OK),
    ("key id 257", {"Type": "SecureString", "KeyId": "k" * 257}, "InvalidKeyId"),
    ("a key id of a String", {"KeyId": "k"}, "ValidationException"),
    ("tag key 128", {"Tags": [{"Key": "k" * 128, "Value": ""}]}, OK),
    ("tag key 129", {"Tags": [{"Key": "k" * 129, "Value": ""}]}, "ValidationException"),
    ("tag value 256", {"Tags": [{"Key": "k", "Value": "v" * 256}]}, OK),
    ("tag value 257", {"Tags": [{"Key": "k", "Value": "v" * 257}]}, "ValidationException"),
    ("tag letters", {"Tags": [{"Key": "ö _.:/=+-@9", "Value": "ü"}]}, OK),
    ("a tag with a comma", {"Tags": [{"Key": "a,b", "Value": ""}]}, "ValidationException"),
    ("50 tags", {"Tags": [{"Key": f"k{n}", "Value": ""} for n in range(50)]}, OK),
    ("51 tags", {"Tags": [{"Key": f"k{n}", "Value": ""} for n in range(51)]}, "TooManyTagsError"),
    ("tags with overwrite", {"Tags": [{"Key": "k", "Value": ""}], "Overwrite": True}, "ValidationException"),
    ("an integer", {"Value": "-12", "DataType": "integer"}, OK),
    ("no integer", {"Value": "1.5", "DataType": "integer"}, "ValidationException"),
    ("a boolean", {"Value": "true", "DataType": "boolean"}, OK),
    ("no boolean", {"Value": "yes", "DataType": "boolean"}, "ValidationException"),
    ("an address", {"Value": "::1", "DataType": "ipv6-address"}, OK),
    ("no address", {"Value": "1.2.3.256", "DataType": "ipv4-address"}, "ValidationException"),
    ("json in Standard", {"Value": "{}", "DataType": "json"}, "ValidationException"),
    ("json in Advanced", {"Value": "{}", "DataType": "json", "Tier": "Advanced"}, OK),
    ("a data type that is none", {"DataType": "colour"}, "ValidationException"),
    ("policies in Standard", {"Policies": json.dumps([EXPIRY])}, "ValidationException"),
    ("policies in Advanced", policies(EXPIRY, BEFORE), OK),
    ("ten policies", policies(EXPIRY, *[BEFORE] * 9), OK),
    ("eleven policies", policies(EXPIRY, *[BEFORE] * 10), "PoliciesLimitExceededException"),
    ("two expirations", policies(EXPIRY, EXPIRY), "IncompatiblePolicyException"),
    ("an unknown policy", policies({**EXPIRY, "Type": "Rotation"}), "InvalidPolicyTypeException"),
    ("a policy of the past", policies({**EXPIRY, "Attributes": {"Timestamp": "2020-01-01T00:00:00Z"}}),
     "InvalidPolicyAttributeException"),
    ("a policy in weeks", policies({**BEFORE, "Attributes": {"Before": "1", "Unit": "Weeks"}}),
     "InvalidPolicyAttributeException"),
]  # fmt: skip


def test_every_limit_of_a_put_holds_on_both_sides(part: RunningPart) -> None:
    """The last value that is allowed and the first that is not, with the documented error name."""
    ssm = boto3.client(
        "ssm",
        endpoint_url=f"http://{part.addresses['ssm']}",
        region_name="eu-west-1",
        aws_access_key_id=KEY_ID,
        aws_secret_access_key=SECRET,
        # botocore's own checks are left out: ours are meant.
        config=Config(retries={"total_max_attempts": 1}, proxies={}, parameter_validation=False),
    )
    wrong = {}
    for number, (title, fields, expected) in enumerate(LIMITS):
        arguments = {"Name": f"/limits/p{number}", "Value": "v", "Type": "String", **fields}
        try:
            ssm.put_parameter(**{key: value for key, value in arguments.items() if value is not None})
            code = OK
        except ClientError as error:
            code = error.response["Error"]["Code"]
        if code != expected:
            wrong[title] = (code, expected)
    ssm.close()
    assert wrong == {}


def test_limits_of_what_exists_hold_on_both_sides(ssm: Any) -> None:
    """Types and tiers do not go back; ten labels, a hundred versions."""
    put(ssm, "/stays/a", "x", Tier="Advanced")
    assert code_of(put, ssm=ssm, name="/stays/a", Overwrite=True, Tier="Standard") == "ValidationException"
    assert put(ssm, "/stays/a", "y", Overwrite=True)["Tier"] == "Advanced"
    assert code_of(put, ssm=ssm, name="/stays/a", Type="SecureString", Overwrite=True) == (
        "HierarchyTypeMismatchException"
    )
    assert ssm.put_parameter(Name="/stays/a", Value="z", Overwrite=True)["Version"] == 3
    labels = [f"l{number}" for number in range(10)]
    ssm.label_parameter_version(Name="/stays/a", Labels=labels)
    one_more = {"Name": "/stays/a", "Labels": ["l10"]}
    assert code_of(ssm.label_parameter_version, **one_more) == "ParameterVersionLabelLimitExceeded"
    long = ssm.label_parameter_version(Name="/stays/a", ParameterVersion=1, Labels=["l" * 100, "l" * 101])
    assert long["InvalidLabels"] == ["l" * 101]
    put(ssm, "/stays/b")
    ssm.label_parameter_version(Name="/stays/b", Labels=["first"])
    for number in range(99):
        put(ssm, "/stays/b", str(number), Overwrite=True)
    assert code_of(put, ssm=ssm, name="/stays/b", Overwrite=True) == "ParameterMaxVersionLimitExceeded"


@pytest.mark.parametrize(
    ("key_id", "secret", "code"),
    [(KEY_ID, "another secret", "InvalidSignatureException"), ("AKIANOBODY", SECRET, "UnrecognizedClientException")],
    ids=["a wrong secret", "an unknown key"],
)
def test_a_signature_is_verified(part: RunningPart, key_id: str, secret: str, code: str) -> None:
    """Not merely read."""
    ssm = client_of(part, key_id=key_id, secret=secret)
    assert code_of(ssm.get_parameter, Name="/app/colour") == code
    ssm.close()


async def test_the_endpoint_speaks_tls(tmp_path: Path) -> None:
    """With the certificate of the service: clients that trust another authority, or send plain text, get nothing."""
    server, stranger = authority(tmp_path, "server"), authority(tmp_path, "stranger")

    async def serves(address: str) -> None:
        async with open_channel(address, tls_ca=server.cert) as channel:
            try:
                await healthy(channel)
            except grpc.aio.AioRpcError as error:
                raise PartNotReadyError(error.details()) from None

    def with_tls(data_directory: Path) -> PartSpec:
        spec = describe(data_directory)
        tls = {"PENSTOCK_CONFIG_TLS_CERT": str(server.cert), "PENSTOCK_CONFIG_TLS_KEY": str(server.key)}
        return replace(spec, environment={**spec.environment, **tls}, ready=partial(serves, spec.addresses["grpc"]))

    async with running(with_tls, tmp_path / "data") as part:
        ssm = client_of(part, scheme="https", trusted=server.cert)
        put(ssm, "/tls/secret", "s" * 4096, Type="SecureString")
        found = ssm.get_parameters_by_path(Path="/tls", WithDecryption=True)["Parameters"]
        assert [one["Value"] for one in found] == ["s" * 4096]
        ssm.close()
        for scheme, error in (("https", SSLError), ("http", ConnectionClosedError)):
            other = client_of(part, scheme=scheme, trusted=stranger.cert)
            with pytest.raises(error):
                other.get_parameter(Name="/tls/secret")
            other.close()


def test_stock_clients_are_pointed_here_by_their_variable(
    part: RunningPart, ssm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`AWS_ENDPOINT_URL_SSM` alone: boto3 and powertools are made as in a program written for AWS."""
    put(ssm, "/stock/one", "1")
    put(ssm, "/stock/secret", "s", Type="SecureString")
    variables = {
        "AWS_ENDPOINT_URL_SSM": f"http://{part.addresses['ssm']}",
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "NO_PROXY": "127.0.0.1",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    client = boto3.Session().client("ssm")
    found = client.get_parameters(Names=["/stock/one", "/stock/secret"], WithDecryption=True)["Parameters"]
    assert {one["Name"]: one["Value"] for one in found} == {"/stock/one": "1", "/stock/secret": "s"}
    client.close()
    provider = SSMProvider(boto3_session=boto3.Session())
    assert provider.get("/stock/one") == "1"
    provider.client.close()


def test_powertools_work_unchanged(ssm: Any) -> None:
    """Single, by path, by name and set, through a stock client."""
    os.environ.setdefault("AWS_DEFAULT_REGION", "eu-west-1")
    provider = SSMProvider(boto3_client=ssm)
    put(ssm, "/power/one", "1")
    put(ssm, "/power/json", '{"colour": "blue"}')
    put(ssm, "/power/deep/secret", "s", Type="SecureString")
    assert provider.get("/power/one") == "1"
    assert provider.get("/power/json", transform="json") == {"colour": "blue"}
    assert provider.get("/power/deep/secret", decrypt=True) == "s"
    assert provider.get_multiple("/power", recursive=True, decrypt=True) == {
        "one": "1",
        "json": '{"colour": "blue"}',
        "deep/secret": "s",
    }
    named = provider.get_parameters_by_name({"/power/one": {}, "/power/deep/secret": {"decrypt": True}})
    assert named == {"/power/one": "1", "/power/deep/secret": "s"}
    assert provider.set("/power/new", "n", parameter_type="String")["Version"] == 1
    assert provider.set("/power/new", "m", parameter_type="String", overwrite=True)["Version"] == 2
