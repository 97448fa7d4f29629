"""What the broker's configuration must say for its promise to hold."""

import xml.etree.ElementTree as ET
from pathlib import Path

CONFIGURATION = Path(__file__).parents[3] / "deploy" / "local" / "activemq.xml"
CORE = "{http://activemq.apache.org/schema/core}"


def test_acknowledgements_are_not_compacted() -> None:
    """A broker killed soon after a start would lose what it has confirmed: see docs/operations.md."""
    (store,) = ET.parse(CONFIGURATION).iter(f"{CORE}kahaDB")
    assert store.attrib["enableAckCompaction"] == "false"
