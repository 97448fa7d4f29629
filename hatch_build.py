"""What building or installing the package does beside copying files: compile `services/filtering/compiled`.

Without a C compiler or the headers of Python that is left out, and Python alone is used instead: the same
answers, more slowly. A word on standard output says so.
"""

import os
import shlex
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = Path("services/filtering/compiled")
MODULE = Path("services/filtering/_core")
FLAGS = ("-O3", "-shared", "-fPIC", "-fwrapv", "-fvisibility=hidden", "-Wall")


class CompiledCore(BuildHookInterface):  # type: ignore[misc]
    """Builds the extension module."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it collects files; `version` is `editable` for an editable installation."""
        built = compile_extension(Path(self.root) / SOURCES, Path(self.root) / MODULE)
        if built is not None and version != "editable":
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
            build_data["artifacts"].append(str(built.relative_to(self.root)))


def compile_extension(sources: Path, module: Path) -> Path | None:
    """The path of the extension module, made of the C files of a folder; None when it cannot be built here."""
    built = module.with_name(module.name + str(sysconfig.get_config_var("EXT_SUFFIX")))
    built.unlink(missing_ok=True)  # one that was built from another source, or for another machine
    compiler, headers = shlex.split(os.environ.get("CC", "cc")), sysconfig.get_paths()["include"]
    if shutil.which(compiler[0]) is None:
        return _left_out(f"there is no C compiler {compiler[0]!r}")
    if not Path(headers, "Python.h").is_file():
        return _left_out(f"{headers} has no Python.h")
    command = [*compiler, *FLAGS, f"-I{headers}", *map(str, sorted(sources.glob("*.c"))), "-o", str(built)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the user's compiler
    if answer.returncode != 0:
        built.unlink(missing_ok=True)
        return _left_out(f"{shlex.join(command)} failed: {answer.stderr.strip()[-400:]}")
    return built


def _left_out(reason: str) -> Path | None:
    print(f"the compiled part of the filter index is left out: {reason}")
    return None
