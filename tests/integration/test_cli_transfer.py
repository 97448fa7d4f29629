"""`penstock params` between files, AWS SSM (moto) and a config service, and its commands about versions."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import boto3
import grpc
import pytest
from penstock.config.v1 import config_service_pb2 as pb

from cli.documents import Kind
from cli.plan import Action, Change
from cli.transfer import _write
from services.runtime.channel import open_channel
from tests.integration.parts import RunningPart
from tests.integration.test_cli_params import Command
from tests.integration.test_config_service import client, put, service

LOGIN = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
YAML = "db:\n  host: db.example\n  password:\n    $secret: s3cret\nlanguages: [en, de]\n"


@pytest.fixture(scope="module")
async def part(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningPart]:
    async with service(tmp_path_factory.mktemp("cli-transfer")) as part:
        yield part


@pytest.fixture
def params(part: RunningPart, monkeypatch: pytest.MonkeyPatch, aws_emulator: RunningPart) -> Command:
    """The command with an AWS of its own in its environment."""
    for name, value in {**LOGIN, "AWS_ENDPOINT_URL_SSM": f"http://{aws_emulator.addresses['http']}"}.items():
        monkeypatch.setenv(name, value)
    return Command(part.addresses["grpc"])


@pytest.fixture
def ssm(params: Command) -> Any:  # noqa: ARG001 - it sets the environment
    return boto3.client("ssm")


def lines(output: str) -> list[list[str]]:
    return [line.split("\t") for line in output.splitlines()]


async def test_a_file_is_imported_after_a_dry_run_has_shown_what_it_does(params: Command, tmp_path: Path) -> None:
    """Types and levels as the document has them; a second run has nothing to do; a secret is never shown."""
    (tmp_path / "app.yaml").write_text(YAML)
    arguments = ["import", str(tmp_path / "app.yaml"), "--path", "/import/app"]
    dry = await params(*arguments, "--dry-run")
    assert (dry.code, [cells[:3] for cells in lines(dry.output)]) == (
        0,
        [
            ["add", "db/host", "String"],
            ["add", "db/password", "SecureString"],
            ["add", "languages", "StringList"],
        ],
    )
    assert "3 changes would be written to /import/app" in dry.errors
    done = await params(*arguments)
    assert (done.code, "s3cret" in done.output + dry.output) == (0, False)
    assert (await params("tree", "/import")).output.split() == [
        "/import",
        "app",
        "db",
        "host",
        "password",
        "languages",
    ]
    again = await params(*arguments, "--json")
    assert json.loads(again.output) == {"changes": [], "conflicts": [], "dry_run": False}


async def test_an_import_changes_and_prunes(params: Command) -> None:
    """From standard input; what is a secret at the service stays one, and shows as dots."""
    await params("import", "-", "--format", "yaml", "--path", "/prune/app", given=YAML.encode())
    env = b"db__host=other\ndb__password=n3w-s3cret\n"
    done = await params("import", "-", "--format", "env", "--path", "/prune/app", "--prune", given=env)
    assert lines(done.output) == [
        ["change", "db/host", "String", "db.example", "other"],
        ["change", "db/password", "SecureString", "••••••", "••••••"],
        ["delete", "languages", "StringList", "en,de", ""],
    ]
    assert (await params("get", "/prune/app/db/password", "--decrypt")).output == "n3w-s3cret\n"
    assert (await params("get", "/prune/app/languages")).code == 1


async def test_new_secrets_are_named_where_a_format_knows_none(params: Command) -> None:
    arguments = ["import", "-", "--format=env", "--path=/named", "--secret", "*PASS*", "--dry-run"]
    assert lines((await params(*arguments, given=b"DB_PASSWORD=s3cret\n")).output) == [
        ["add", "DB_PASSWORD", "SecureString", "", "••••••"]
    ]


async def test_a_conflict_writes_nothing(params: Command) -> None:
    """Also not the changes beside it."""
    for document, code in ((b'{"a": "1"}', 0), (b'{"a": ["x"], "b": "1"}', 1)):
        ended = await params("import", "-", "--format=json", "--path=/conflict", given=document)
        assert ended.code == code
    assert "a is a String and cannot become a StringList" in ended.errors
    assert len((await params("ls", "/conflict")).output.splitlines()) == 1


async def test_an_export_can_be_imported_elsewhere(params: Command, tmp_path: Path) -> None:
    """Secrets only when asked for; the file is its owner's."""
    await params("import", "-", "--format=yaml", "--path=/from", given=YAML.encode())
    file = tmp_path / "app.toml"
    without = await params("export", "/from", str(file))
    assert (without.code, "1 secrets are left out" in without.errors, "s3cret" in file.read_text()) == (0, True, False)
    whole = await params("export", "/from", str(file), "--decrypt")
    assert lines(whole.output) == [["add", "db/password", "SecureString", "", "••••••"]]
    assert file.stat().st_mode & 0o777 == 0o600
    await params("import", str(file), "--path=/to")
    shown = [cells[1:] for cells in lines((await params("ls", "/to", "--decrypt")).output)]
    assert shown == [["String", "1", "db.example"], ["SecureString", "1", "s3cret"], ["StringList", "1", "en,de"]]

    assert (await params("export", "/to")).output == "db:\n  host: db.example\nlanguages:\n- en\n- de\n"


async def test_a_value_that_changes_after_it_was_shown_is_not_overwritten(part: RunningPart) -> None:
    """The import stops there, and can be repeated with the new value shown."""
    async with client(part) as stub, open_channel(part.addresses["grpc"]) as channel:
        for value in ("shown", "somebody else's"):
            await put(stub, "/race/a", value)
        for action, after in ((Action.CHANGE, "ours"), (Action.DELETE, None), (Action.ADD, "ours")):
            version = 0 if action is Action.ADD else 1
            change = Change(action=action, name="a", kind=Kind.STRING, before="shown", after=after, version=version)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await _write(channel, "/race", change)
            assert caught.value.code() in (grpc.StatusCode.ABORTED, grpc.StatusCode.ALREADY_EXISTS)
        found = await stub.GetParameter(pb.GetParameterRequest(name="/race/a"))
        assert found.parameter.value == "somebody else's"


async def test_parameters_move_from_ssm_and_back(params: Command, ssm: Any) -> None:
    """More than a page of them, secrets among them."""
    for number in range(11):
        ssm.put_parameter(Name=f"/old/app/n{number:02}", Value=str(number), Type="String")
    ssm.put_parameter(Name="/old/app/db/password", Value="s3cret", Type="SecureString")
    taken = await params("import", "ssm:/old/app", "--path", "/taken/app")
    assert (taken.code, len(taken.output.splitlines()), "s3cret" in taken.output) == (0, 12, False)
    assert (await params("get", "/taken/app/db/password", "--decrypt")).output == "s3cret\n"
    await params("put", "/taken/app/n00", "new")
    await params("delete", "/taken/app/n01")
    back = ["export", "/taken/app", "ssm:/old/app", "--decrypt", "--prune"]
    dry = await params(*back, "--dry-run")
    assert lines(dry.output) == [["change", "n00", "String", "0", "new"], ["delete", "n01", "String", "1", ""]]
    assert (await params(*back)).code == 0
    assert ssm.get_parameter(Name="/old/app/n00")["Parameter"]["Value"] == "new"
    assert (await params(*back)).output == ""


async def test_an_absent_aws_is_exit_code_3(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**LOGIN, "AWS_ENDPOINT_URL_SSM": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(name, value)
    ended = await Command("127.0.0.1:9")("import", "ssm:/a")
    assert (ended.code, "AWS cannot be called" in ended.errors) == (3, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["import", "a.yaml"],
        ["import", "/does/not/exist.yaml", "--path", "/a"],
        ["import", "-", "--path", "/a"],
        ["import", "ssm:app"],
        ["export", "/a", "somewhere"],
    ],
    ids=["no path", "no file", "no format", "no path of AWS", "no format of a file"],
)
async def test_wrong_usage_is_exit_code_2(params: Command, arguments: list[str]) -> None:
    ended = await params(*arguments)
    assert (ended.code, bool(ended.errors), "Traceback" in ended.errors) == (2, True, False)


async def test_versions_are_compared_labelled_and_restored(params: Command) -> None:
    """Diff ends like diff(1); rollback writes a new version."""
    for value in ("one\ntwo", "one\nthree"):
        await params("put", "/versions/a", value)
    assert (await params("label", "/versions/a", "stable", "--version", "1")).output == "version 1 is stable\n"
    differs = await params("diff", "/versions/a")
    assert (differs.code, differs.output.splitlines()) == (
        1,
        ["--- /versions/a:1", "+++ /versions/a:2", "@@ -1,2 +1,2 @@", " one", "-two", "+three"],
    )
    restored = await params("rollback", "/versions/a", "--to", "stable")
    assert (restored.code, restored.output.split()[:2]) == (0, ["version", "3"])
    same = await params("diff", "/versions/a:stable", "/versions/a", "--json")
    assert (same.code, json.loads(same.output)["same"]) == (0, True)
    assert (await params("rollback", "/versions/a", "--to", "99")).code == 1
    assert (await params("label", "/versions/a", "1st")).code == 1


async def test_a_difference_of_secrets_is_told_and_not_shown(params: Command) -> None:
    for value in (b"s3cret-1", b"s3cret-2"):
        await params("put", "/differs/a", "-", "--secure", given=value)
    hidden = await params("diff", "/differs/a")
    assert (hidden.code, "s3cret" in hidden.output, "differ; --decrypt" in hidden.output) == (1, False, True)
    assert "+s3cret-2" in (await params("diff", "/differs/a", "--decrypt")).output


async def test_a_rollout_ends_for_all_or_for_nobody(params: Command) -> None:
    """As its alarm command says: exit code 0 is an alarm."""
    await params("put", "/rolled/a", "old")
    quick = ["rollout", "/rolled/a", "new", "--percent", "10,100", "--bake", "0.1", "--poll", "0.05"]
    alarmed = await params(*quick, "--alarm", "true")
    assert (alarmed.code, alarmed.output) == (1, "rolled back\n")
    assert (await params("get", "/rolled/a:1")).output == "old\n"
    done = await params(*quick, "--alarm", "false")
    assert (done.code, done.output, "100 % of the callers" in done.errors) == (0, "completed\n", True)
    assert (await params("get", "/rolled/a:2")).output == "new\n"
