"""The file of functions and the forms of a function's name."""

import json
from pathlib import Path

import pytest

from deploy.local.lambda_endpoint.function import FunctionFileError, function_name, load_functions


@pytest.mark.parametrize(
    "reference",
    [
        "orders",
        "orders:$LATEST",
        "orders:live",
        "function:orders",
        "123456789012:function:orders",
        "arn:aws:lambda:eu-central-1:123456789012:function:orders",
        "arn:aws:lambda:eu-central-1:123456789012:function:orders:3",
        "arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:orders",
    ],
)
def test_name_is_found_in_every_form(reference: str) -> None:
    """Name, partial ARN, ARN, each with a qualifier."""
    assert function_name(reference) == "orders"


@pytest.mark.parametrize(
    "reference", ["", "or ders", "arn:aws:sqs:us-east-1:123456789012:orders", "orders:a:b", "x" * 65, "ordérs"]
)
def test_other_strings_are_no_function_names(reference: str) -> None:
    """None, not a guess."""
    assert function_name(reference) is None


def test_toml_file_is_read(tmp_path: Path) -> None:
    """Given fields and Lambda's defaults; the folder is relative to the file."""
    (tmp_path / "code").mkdir()
    path = tmp_path / "functions.toml"
    path.write_text(
        '[functions.orders]\nhandler = "orders.handle"\ncode = "code"\ntimeout = 1.5\n'
        '[functions.orders.environment]\nTABLE = "orders"\n'
    )
    function = load_functions(path)["orders"]
    assert (function.handler, function.code) == ("orders.handle", tmp_path / "code")
    assert (function.timeout, function.concurrency) == (1.5, 10)
    assert function.environment == {"TABLE": "orders"}
    assert function.arn == "arn:aws:lambda:us-east-1:123456789012:function:orders"


def test_json_file_is_read(tmp_path: Path) -> None:
    """The same shape in JSON; the code is beside the file when nothing is said."""
    path = tmp_path / "functions.json"
    path.write_text(json.dumps({"functions": {"orders": {"handler": "a/b.handle", "code": "."}}}))
    assert load_functions(path)["orders"].code == tmp_path


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    """Each with function, field and value."""
    path = tmp_path / "functions.toml"
    path.write_text(
        '[functions.one]\nhandler = "nodot"\ncode = "missing"\ntimeout = 901\n'
        '[functions.two]\nhandler = "a.b"\ncode = "."\ncolour = "red"\n'
        '[functions."no good"]\nhandler = "a.b"\ncode = "."\n'
    )
    with pytest.raises(FunctionFileError) as caught:
        load_functions(path)
    message = str(caught.value)
    for fault in (
        "functions.one.handler",
        "functions.one.code",
        "functions.one.timeout",
        "functions.two.colour",
        "functions.no good.name",
        "901",
    ):
        assert fault in message


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("not toml", "functions.toml"),
        ("", '"functions"'),
        ("functions = 1", '"functions"'),
        ("[functions]\na = 1", "a"),
    ],
)
def test_file_of_another_shape_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    """Syntax errors and missing tables name the file."""
    path = tmp_path / "functions.toml"
    path.write_text(text)
    with pytest.raises(FunctionFileError, match=fault):
        load_functions(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    """The path is in the message."""
    with pytest.raises(FunctionFileError, match=r"none\.toml"):
        load_functions(tmp_path / "none.toml")
