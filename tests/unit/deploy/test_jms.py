"""The written form of JMS messages, and what the Java client's failures become."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.jars import sha256_of
from deploy.local.java import JavaRuntime
from deploy.local.jms import (
    JAKARTA_CLASSES,
    JMS_CLASSES,
    JMS_SOURCE,
    JmsClient,
    JmsError,
    JmsMessage,
    JmsReceived,
    JmsValue,
)

values = st.one_of(
    st.text(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.binary(),
)


@given(
    text=st.text(),
    properties=st.dictionaries(st.text(min_size=1), values),
    headers=st.dictionaries(st.sampled_from(["type", "correlation-id"]), st.text()),
)
def test_text_message_reads_back_as_written(text: str, properties: dict[str, str], headers: dict[str, str]) -> None:
    """Any text, name and value survives the lines, tabs, newlines and empty strings included."""
    line = JmsMessage(text=text, properties=properties, headers=headers).line()
    read = JmsReceived.from_line(line)
    assert "\n" not in line
    assert (read.kind, read.body) == ("text", text)
    assert {name: value.value for name, value in read.properties.items()} == properties
    assert read.headers == headers


@given(data=st.binary())
def test_bytes_message_reads_back_as_written(data: bytes) -> None:
    """Any byte survives."""
    read = JmsReceived.from_line(JmsMessage(data=data).line())
    assert (read.kind, read.body) == ("bytes", data)


@given(entries=st.dictionaries(st.text(), values))
def test_map_message_reads_back_as_written(entries: dict[str, str]) -> None:
    """Entries keep their names and values."""
    read = JmsReceived.from_line(JmsMessage(entries=entries).line())
    assert read.kind == "map"
    assert {name: value.value for name, value in read.entries.items()} == entries


@pytest.mark.parametrize(
    ("value", "java_type"),
    [
        ("x", "string"),
        (True, "boolean"),
        (415, "int"),
        (2**31, "long"),
        (-(2**31) - 1, "long"),
        (0.5, "double"),
        (b"x", "bytes"),
    ],
)
def test_value_has_the_java_type_a_producer_would_choose(value: str, java_type: str) -> None:
    """Whole numbers that do not fit into an int are longs."""
    read = JmsReceived.from_line(JmsMessage(properties={"p": value}).line())
    assert read.properties["p"] == JmsValue(type=java_type, value=value)  # type: ignore[arg-type]  # from a table


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (JmsMessage(), "kind empty"),
        (JmsMessage(null_text=True), "kind text"),
        (JmsMessage(items=[1, "a"]), "kind stream"),
        (JmsMessage(object_text="o"), "kind object"),
        (JmsMessage(text=""), "kind text"),
    ],
    ids=["plain", "null text", "stream", "object", "empty text"],
)
def test_body_decides_the_kind(message: JmsMessage, kind: str) -> None:
    """The first field tells which JMS class is made."""
    assert message.line().split("\t")[0] == kind


def test_empty_text_is_not_null_text() -> None:
    """A text message with an empty string has a body, one holding null has none."""
    assert JmsReceived.from_line(JmsMessage(text="").line()).body == ""
    assert JmsReceived.from_line(JmsMessage(null_text=True).line()).body is None


@pytest.mark.parametrize("line", ["kind text\tsurprise 1", "property cA== complex eA=="])
def test_unknown_output_is_an_error(line: str) -> None:
    """A Java client of another version is noticed."""
    with pytest.raises(JmsError, match="the Java client printed"):
        JmsReceived.from_line(line)


def client(directory: Path, script: str, *, compiler: bool = True, timeout_seconds: float = 30.0) -> JmsClient:
    """A client whose Java is a shell script."""
    java = directory / "java"
    java.write_text(f"#!/bin/sh\n{script}\n")
    java.chmod(0o755)
    runtime = JavaRuntime(executable=java, version="21", origin="test", has_compiler=compiler)
    return JmsClient(
        java=runtime,
        class_path="jars/*",
        broker_url="tcp://127.0.0.1:1",
        user="u",
        password="secret",
        runs_source=compiler,
        timeout_seconds=timeout_seconds,
    )


def test_java_failure_becomes_one_line_with_its_cause(tmp_path: Path) -> None:
    """Stack frames are left out; how many messages were confirmed is kept."""
    script = "echo ID:1; echo 'Exception in thread \"main\" javax.jms.JMSException: no' >&2; echo ' at x.y' >&2; exit 1"
    with pytest.raises(JmsError) as caught:
        client(tmp_path, script).send("q", [])
    assert str(caught.value) == "JMS send q at tcp://127.0.0.1:1 failed after 1 messages: javax.jms.JMSException: no"


def test_what_began_a_java_failure_is_told_beside_it(tmp_path: Path) -> None:
    """The client of ActiveMQ 6 says "disposed" first and the reason last."""
    trace = "jakarta.jms.JMSException: Disposed\\nCaused by: java.net.ConnectException: refused"
    script = f"printf '{trace}' >&2; exit 1"
    with pytest.raises(JmsError, match=r"JMSException: Disposed \(java.net.ConnectException: refused\)"):
        client(tmp_path, script).send("q", [])


def test_java_that_does_not_end_is_given_up(tmp_path: Path) -> None:
    """A producer that waits for a broker is bounded."""
    with pytest.raises(JmsError, match=r"did not end within 0\.05 s: is the broker up"):
        client(tmp_path, "exec sleep 30", timeout_seconds=0.05).send("q", [])


def test_password_goes_by_the_environment_and_stays_out_of_the_repr(tmp_path: Path) -> None:
    """Neither the command line nor a log shows it."""
    asked = client(tmp_path, 'echo "$JMS_PASSWORD"; echo "$*"')
    password, arguments = asked.send("q", [])
    assert password == "secret"
    assert "secret" not in arguments
    assert "secret" not in repr(asked)


def test_jdk_runs_the_source_and_jre_the_prebuilt_classes(tmp_path: Path) -> None:
    """Both are said on the screen."""
    (from_source,) = client(tmp_path, 'echo "$*"').send("q", [])
    assert f"-cp jars/* {JMS_SOURCE} send" in from_source
    prebuilt = client(tmp_path, 'echo "$*"', compiler=False)
    assert f"-cp jars/*{os.pathsep}{JMS_CLASSES} JmsTool send" in prebuilt.send("q", [])[0]
    assert "from prebuilt classes, there is no Java compiler" in prebuilt.description


def test_prebuilt_classes_are_those_of_the_source() -> None:
    """`python -m tests.jms.build_classes` was run after the last change of the source."""
    for classes in (JMS_CLASSES, JAKARTA_CLASSES):
        recorded = (classes / "JmsTool.java.sha256").read_text().strip()
        assert recorded == sha256_of(JMS_SOURCE), "run: python -m tests.jms.build_classes"
