"""The places ActiveMQ's jars can come from, in the order they are asked: jgo, Maven, a Debian or Ubuntu archive.

No host is named here: jgo and Maven know Maven Central (or the mirror in Maven's settings), apt knows its archive.
"""

import re
import shutil
import subprocess
import textwrap
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree as ET

from deploy.local.jars import DEFAULT_LINE, JarSource, PinnedJar, SourceUnavailableError, broker_version
from deploy.local.part import Progress

_MAVEN_SECONDS = 600.0
_APT_SECONDS = 300.0
_JGO_REQUEST_SECONDS = 20
_LONGEST_REASON = 240
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_COPY_GOAL = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"

DEBIAN_PACKAGES = (
    "libactivemq-java", "libactivemq-protobuf-java", "libhawtbuf-java", "libgeronimo-jms-1.1-spec-java",
    "libgeronimo-j2ee-management-1.1-spec-java", "libjasypt-java", "libslf4j-java", "libxbean-java",
    "libspring-core-java", "libspring-beans-java", "libspring-context-java", "libspring-expression-java",
    "libspring-aop-java", "libxstream-java", "libjettison-java", "libxpp3-java",
)  # fmt: skip
DEBIAN_JARS = (
    "activemq-client", "activemq-broker", "activemq-console", "activemq-jaas", "activemq-kahadb-store",
    "activemq-openwire-legacy", "activemq-spring", "activemq-stomp", "activemq-protobuf", "geronimo-jms_1.1_spec",
    "geronimo-j2ee-management-1.1-spec", "hawtbuf", "jasypt", "jcl-over-slf4j", "slf4j-api", "slf4j-simple",
    "spring3-core", "spring3-beans", "spring3-context", "spring3-expression", "spring3-aop", "xbean-spring", "xstream",
    "jettison", "xpp3",
)  # fmt: skip


def fetch_with_jgo(pinned: Sequence[PinnedJar], directory: Path, progress: Progress) -> str:
    """Download each pinned jar by its coordinates with jgo, which needs neither Maven nor Java."""
    if not find_spec("jgo"):
        raise SourceUnavailableError("the Python package jgo is not installed")
    from jgo.maven import MavenContext  # noqa: PLC0415 - part of an extra that need not be installed

    with TemporaryDirectory(dir=directory.parent) as repository:
        maven = MavenContext(repo_cache=Path(repository), timeout=_JGO_REQUEST_SECONDS)
        for number, jar in enumerate(pinned, start=1):
            progress.step(f"{number}/{len(pinned)} {jar.file_name}")
            artifact = maven.project(jar.group, jar.artifact).at_version(jar.version).artifact()
            try:
                downloaded = artifact.resolve()
            except (RuntimeError, OSError) as error:  # jgo raises both: "not found", and what requests raises
                raise SourceUnavailableError(f"{jar.file_name}: {_reason(_first_cause(error))}") from error
            shutil.move(downloaded, directory / jar.file_name)
    return broker_version(pinned)


def fetch_with_maven(pinned: Sequence[PinnedJar], directory: Path, progress: Progress) -> str:
    """Let `mvn` copy the pinned jars, through the machine's own Maven settings (mirrors, proxies)."""
    if not shutil.which("mvn"):
        raise SourceUnavailableError("mvn is not on PATH")
    with TemporaryDirectory(dir=directory.parent) as scratch:
        pom = Path(scratch, "pom.xml")
        pom.write_bytes(maven_pom(pinned))
        progress.step(f"mvn copies {len(pinned)} jars")
        local = f"-Dmaven.repo.local={scratch}/repository"
        quiet = ("-B", "-q", "-Dstyle.color=never")
        _run("mvn", *quiet, "-f", str(pom), local, _COPY_GOAL, f"-DoutputDirectory={directory}", seconds=_MAVEN_SECONDS)
    return broker_version(pinned)


def maven_pom(pinned: Sequence[PinnedJar]) -> bytes:
    """A project that depends on exactly the pinned jars, without what they would bring along."""
    project = ET.Element("project")
    for tag, text in (("modelVersion", "4.0.0"), ("groupId", "penstock"), ("artifactId", "broker-jars"),
                      ("version", "1"), ("packaging", "pom")):  # fmt: skip
        ET.SubElement(project, tag).text = text
    dependencies = ET.SubElement(project, "dependencies")
    for jar in pinned:
        dependency = ET.SubElement(dependencies, "dependency")
        for tag, text in (("groupId", jar.group), ("artifactId", jar.artifact), ("version", jar.version)):
            ET.SubElement(dependency, tag).text = text
        exclusion = ET.SubElement(ET.SubElement(dependency, "exclusions"), "exclusion")
        for tag in ("groupId", "artifactId"):
            ET.SubElement(exclusion, tag).text = "*"
    return ET.tostring(project)


def fetch_from_debian(_pinned: Sequence[PinnedJar], directory: Path, progress: Progress) -> str:
    """Download and unpack the distribution's packages, installing nothing; apt checks its archive's signatures.

    The version is the distribution's own, so the lock's checksums do not apply.
    """
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            raise SourceUnavailableError(f"{tool} is not on PATH (not Debian or Ubuntu)")
    with TemporaryDirectory(dir=directory.parent) as scratch:
        progress.step(f"apt-get downloads {len(DEBIAN_PACKAGES)} packages")
        _run("apt-get", "-q", "download", *DEBIAN_PACKAGES, seconds=_APT_SECONDS, directory=scratch)
        for package in sorted(Path(scratch).glob("*.deb")):
            _run("dpkg-deb", "-x", str(package), f"{scratch}/root", seconds=_APT_SECONDS)
        for name in DEBIAN_JARS:
            jar = Path(scratch, "root/usr/share/java", f"{name}.jar")
            if not jar.exists():
                raise SourceUnavailableError(f"the distribution's packages hold no {jar.name}")
            shutil.copyfile(jar, directory / jar.name)  # follows the packages' symbolic links
        return _debian_version(Path(scratch))


def _debian_version(scratch: Path) -> str:
    (package,) = scratch.glob("libactivemq-java_*.deb")
    found = re.match(r"libactivemq-java_(?:\d+%3a)?(?P<upstream>[0-9.]+)", package.name)
    if found is None:
        raise SourceUnavailableError(f"{package.name} does not tell its version")
    return found["upstream"]


def _run(*argv: str, seconds: float, directory: str | None = None) -> None:
    try:
        subprocess.run(argv, cwd=directory, capture_output=True, text=True, timeout=seconds, check=True)
    except subprocess.CalledProcessError as error:
        raise SourceUnavailableError(f"{argv[0]}: {_reason(error.stderr + error.stdout)}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SourceUnavailableError(f"{argv[0]}: {_reason(error)}") from error


def _reason(text: object) -> str:
    """The first line that says something, of apt's and Maven's output too, cut to a readable length."""
    plain = _COLOUR.sub("", str(text))
    lines = [line.strip() for line in plain.splitlines() if line.strip() and not line.startswith("W:")]
    return textwrap.shorten(lines[0], _LONGEST_REASON, placeholder=" ...") if lines else "failed without a word"


def _first_cause(error: BaseException) -> BaseException:
    """What started a chain of exceptions: "connection refused" rather than "maximum of retries exceeded"."""
    while (earlier := error.__cause__ or error.__context__) is not None:
        error = earlier
    return error


JAR_SOURCES = (
    JarSource(name="Maven Central by jgo", fetch=fetch_with_jgo, is_pinned=True),
    JarSource(name="Maven Central by mvn", fetch=fetch_with_maven, is_pinned=True),
    JarSource(name="the distribution's packages by apt-get", fetch=fetch_from_debian, is_pinned=False),
)
# Maven fetches side by side what jgo fetches one after the other; no distribution has packages of Cassandra.
CASSANDRA_JAR_SOURCES = (JAR_SOURCES[1], JAR_SOURCES[0])


def jar_sources(line: str) -> Sequence[JarSource]:
    """The sources of one line of ActiveMQ. The distribution has a 5.x alone, which cannot stand in for another line."""
    return [source for source in JAR_SOURCES if source.is_pinned or line == DEFAULT_LINE]
