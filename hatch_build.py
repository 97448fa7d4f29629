"""What building or installing the package does beside copying files: compile the folders `compiled` of services.

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

SERVICES = (Path("services/filtering"), Path("services/tracking"))
FLAGS = ("-O3", "-shared", "-fPIC", "-fwrapv", "-fvisibility=hidden", "-Wall")


class CompiledCores(BuildHookInterface):  # type: ignore[misc]
    """Builds an extension module `_core` for each of the services."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it collects files; `version` is `editable` for an editable installation."""
        for service in SERVICES:
            folder = Path(self.root) / service
            built = compile_extension(folder / "compiled", folder / "_core")
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
        return _left_out(sources, f"there is no C compiler {compiler[0]!r}")
    if not Path(headers, "Python.h").is_file():
        return _left_out(sources, f"{headers} has no Python.h")
    command = [*compiler, *FLAGS, f"-I{headers}", *map(str, sorted(sources.glob("*.c"))), "-o", str(built)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the user's compiler
    if answer.returncode != 0:
        built.unlink(missing_ok=True)
        return _left_out(sources, f"{shlex.join(command)} failed: {answer.stderr.strip()[-400:]}")
    return built


def _left_out(sources: Path, reason: str) -> Path | None:
    print(f"{sources} is left out: {reason}")
    return None
