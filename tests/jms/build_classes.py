"""Compile JmsTool for machines that have a Java runtime without a compiler: `python -m tests.jms.build_classes`.

Needs a JDK 17 or newer. The classes are committed with the checksum of the source they were built from.
"""

import shutil
import sys

from deploy.local.home import jar_cache
from deploy.local.jar_sources import JAR_SOURCES
from deploy.local.jars import broker_jars, sha256_of
from deploy.local.java import find_java
from deploy.local.jms import JMS_CLASSES, JMS_SOURCE, compile_classes
from deploy.local.part import PartError, SilentProgress

SOURCE_CHECKSUM = JMS_CLASSES / "JmsTool.java.sha256"


def main() -> None:
    """Replace the committed classes."""
    progress = SilentProgress()
    java = find_java(progress)
    if not java.has_compiler:
        raise PartError(f"{java} has no compiler: install a JDK, or let JAVA_HOME name one")
    jars = broker_jars(jar_cache(), progress, JAR_SOURCES)
    shutil.rmtree(JMS_CLASSES, ignore_errors=True)
    JMS_CLASSES.mkdir()
    compile_classes(java, jars.class_path, JMS_CLASSES)
    SOURCE_CHECKSUM.write_text(f"{sha256_of(JMS_SOURCE)}\n", encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except PartError as error:
        sys.exit(f"error: {error}")
