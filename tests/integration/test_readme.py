"""What the README shows is run: its console blocks against the embedded stack, its Python as programs.

A console block holds commands (`$ command`, continued by a trailing backslash) and the output each of them must give;
`…` stands for anything within a line, a line of `…` alone for any lines. Ports of the embedded default become those of
the stack under test.
"""

import asyncio
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from deploy.local.modules import MODULES
from deploy.local.ports import Ports
from deploy.local.stack import EmbeddedStack

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
_BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
MAKE_TARGETS = ("make demo", "make test", "make up", "make up DETACH=1", "make down")


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A command of the README and the output it shows."""

    command: str
    output: str


def blocks(language: str) -> Sequence[str]:
    """The fenced blocks of a language, in order."""
    return [match["text"] for match in _BLOCK.finditer(README) if match["language"] == language]


def steps(block: str) -> Iterator[Step]:
    """The commands of a console block with their outputs."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = re.sub(r"\\\n\s*", "", part).partition("\n")
        yield Step(command=command, output=output.strip())


def at(ports: Ports, text: str) -> str:
    """A text with the default addresses replaced by those of the stack."""
    actual = {field.default: getattr(ports, field.name) for field in fields(Ports)}
    return re.sub(
        r"(127\.0\.0\.1|localhost):(\d+)", lambda match: f"{match[1]}:{actual.get(int(match[2]), match[2])}", text
    )


def environment(ports: Ports) -> dict[str, str]:
    """Variables that lead the commands to the stack, instead of to the default ports."""
    targets = {f"PENSTOCK_TARGET_{name.upper()}": ports.address(name) for name in MODULES}
    return {
        **os.environ,
        **targets,
        "PENSTOCK_BROKER_OPENWIRE": ports.address("openwire"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "120",
    }


async def run(argv: Sequence[str], ports: Ports) -> str:
    """The output of a program that must exit 0."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        cwd=ROOT,
        env=environment(ports),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, f"{argv[-1]}\n{output.decode()}"
    return output.decode().strip()


def matches(shown: str, output: str) -> bool:
    """Whether an output is what the README shows."""
    pattern = "\n".join(
        "(?:.*\n?)*?" if line.strip() == "…" else ".*".join(map(re.escape, line.rstrip().split("…")))
        for line in shown.splitlines()
    ).replace("(?:.*\n?)*?\n", "(?:.*\n)*?")
    return re.fullmatch(pattern, "\n".join(line.rstrip() for line in output.splitlines())) is not None


@pytest.mark.parametrize("number", range(len(blocks("console"))))
async def test_console_block_gives_the_output_it_shows(stack: EmbeddedStack, number: int) -> None:
    """Every command of the block, in order, word for word."""
    for step in steps(blocks("console")[number]):
        output = await run(("bash", "-c", at(stack.ports, step.command)), stack.ports)
        assert matches(at(stack.ports, step.output), output), f"$ {step.command}\nshown:\n{step.output}\ngot:\n{output}"


@pytest.mark.parametrize("number", range(len(blocks("python"))))
async def test_python_block_runs(stack: EmbeddedStack, number: int) -> None:
    """The program as it stands; its assertions are the README's claims."""
    await run((sys.executable, "-c", at(stack.ports, blocks("python")[number])), stack.ports)


def test_shell_blocks_name_only_targets_of_the_makefile() -> None:
    """The two commands are run by `.ci/run`; here they must exist, and it must run them."""
    commands = [line.partition("#")[0].strip() for block in blocks("sh") for line in block.splitlines() if line]
    assert commands
    assert set(commands) <= set(MAKE_TARGETS)
    makefile = (ROOT / "Makefile").read_text()
    assert all(f"\n{command.split()[1]}: " in makefile for command in commands)
    script = (ROOT / ".ci" / "run").read_text()
    assert all(f"\n{command}\n" in script for command in ("make demo", "make test"))


def test_the_readme_stays_short() -> None:
    """At most 200 lines: what is longer belongs below docs/."""
    assert len(README.splitlines()) <= 200


@pytest.mark.parametrize(
    ("shown", "output", "same"),
    [
        ("a\nb", "a\nb", True),
        ("a …", "a 17 b", True),
        ("a\n…\nz", "a\nb\nc\nz", True),
        ("a\n…\nz", "a\nz", True),
        ("a", "a\nb", False),
        ("a.c", "abc", False),
    ],
)
def test_an_ellipsis_stands_for_anything_and_nothing_else_does(shown: str, output: str, *, same: bool) -> None:
    """The comparison itself can fail."""
    assert matches(shown, output) is same
