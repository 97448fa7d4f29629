"""What building or installing the package does beside copying files: compile the folders `compiled`.

Without a C compiler or the headers of Python that is left out, and Python alone is used instead: the same
answers, more slowly. A word on standard output says so.
"""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGES = (Path("broker_bridge"), Path("services/filtering"), Path("services/tracking"))
FLAGS = ["-O3", "-shared", "-fPIC", "-fwrapv", "-fvisibility=hidden", "-Wall"]
if sys.platform == "darwin":
    FLAGS += ["-undefined", "dynamic_lookup"]  # what Python has is found when the module is loaded


class CompiledCores(BuildHookInterface):  # type: ignore[misc]
    """Builds an extension module `_core` for each of the packages."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it collects files; `version` is `editable` for an editable installation."""
        for package in PACKAGES:
            folder = Path(self.root) / package
            built = compile_extension(folder / "compiled", folder / "_core")
            if built is not None and version != "editable":
                build_data["pure_python"] = False
                build_data["infer_tag"] = True
                build_data["artifacts"].append(str(built.relative_to(self.root)))


def compile_extension(sources: Path, module: Path) -> Path | None:
    """The path of the extension module, made of the C files of a folder; None when it cannot be built here."""
    built = module.with_name(module.name + str(sysconfig.get_config_var("EXT_SUFFIX")))
    fresh = built.with_name(built.name + ".new")
    if fault := _compile(sources, fresh):
        print(f"{sources} is left out: {fault}")
        fresh.unlink(missing_ok=True)
        built.unlink(missing_ok=True)  # one that was built from another source, or for another machine
        return None
    # As a file of its own: written over, the one that a running process has loaded would change under it.
    fresh.replace(built)
    return built


def _compile(sources: Path, output: Path) -> str:
    """Compiles the C files of a folder; why that was not possible, or an empty text."""
    compiler, headers = shlex.split(os.environ.get("CC", "cc")), sysconfig.get_paths()["include"]
    if shutil.which(compiler[0]) is None:
        return f"there is no C compiler {compiler[0]!r}"
    if not Path(headers, "Python.h").is_file():
        return f"{headers} has no Python.h"
    command = [*compiler, *FLAGS, f"-I{headers}", *map(str, sorted(sources.glob("*.c"))), "-o", str(output)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the user's compiler
    return f"{shlex.join(command)} failed: {answer.stderr.strip()[-400:]}" if answer.returncode else ""
