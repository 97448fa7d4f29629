"""Compile JmsTool for machines that have a Java runtime without a compiler: `python -m tests.jms.build_classes`.

Needs a JDK 17 or newer. The classes are committed with the checksum of the source they were built from.
"""

import shutil
import sys
from pathlib import Path

from deploy.local.home import jar_cache
from deploy.local.jar_sources import jar_sources
from deploy.local.jars import LOCK_FILES, broker_jars, read_lock, sha256_of
from deploy.local.java import find_java
from deploy.local.jms import JAKARTA_CLASSES, JMS_CLASSES, JMS_SOURCE, JmsApi, compile_classes
from deploy.local.part import PartError, SilentProgress

CHECKSUM = "JmsTool.java.sha256"


def main() -> None:
    """Replace the committed classes."""
    progress = SilentProgress()
    java = find_java(progress)
    if not java.has_compiler:
        raise PartError(f"{java} has no compiler: install a JDK, or let JAVA_HOME name one")
    apis: dict[str, tuple[JmsApi, Path]] = {"5.18": ("javax", JMS_CLASSES), "6.1": ("jakarta", JAKARTA_CLASSES)}
    for line, (api, classes) in apis.items():
        jars = broker_jars(jar_cache(), progress, jar_sources(line), read_lock(LOCK_FILES[line]))
        shutil.rmtree(classes, ignore_errors=True)
        classes.mkdir()
        compile_classes(java, jars.class_path, classes, api=api)
        (classes / CHECKSUM).write_text(f"{sha256_of(JMS_SOURCE)}\n", encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except PartError as error:
        sys.exit(f"error: {error}")
