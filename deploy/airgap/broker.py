"""The stand-in's broker: `python -m deploy.airgap.broker` becomes the embedded stack's ActiveMQ.

It is told by the environment what the upstream image's mounted configuration is told: BROKER_HOST, BROKER_DATA,
BROKER_STOMP_PORT, BROKER_OPENWIRE_PORT, BROKER_USER, BROKER_PASSWORD. The configuration is a file mounted where the
upstream image keeps it, else the embedded stack's own.
"""

import os
import sys
from pathlib import Path

from deploy.local.activemq import CONFIGURATION, activemq_part
from deploy.local.home import jar_cache
from deploy.local.part import PartError, SilentProgress

MOUNTED = Path("/opt/apache-activemq/conf/activemq.xml")
DATA = "/opt/apache-activemq/data"


def main() -> None:
    """Replace this process by Java, so that signals reach the broker."""
    data = Path(os.environ.get("BROKER_DATA", DATA))
    part = activemq_part(
        home=data,
        data_directory=data,
        stomp_port=int(os.environ.get("BROKER_STOMP_PORT", "61613")),
        openwire_port=int(os.environ.get("BROKER_OPENWIRE_PORT", "61616")),
        cache=jar_cache(),
        progress=SilentProgress(),
    )
    configuration = MOUNTED if MOUNTED.exists() else CONFIGURATION
    argv = [*part.argv[:-1], f"xbean:{configuration.as_uri()}"]
    os.execve(argv[0], argv, {**part.environment, "BROKER_HOST": "0.0.0.0", **os.environ})  # noqa: S104, S606


if __name__ == "__main__":
    try:
        main()
    except PartError as error:
        sys.exit(f"error: {error}")
