"""`python -m broker_bridge`: the bridge from ActiveMQ to gRPC services, AWS, HTTP endpoints and other queues."""

import sys
from functools import partial

from penstock.client import IDEMPOTENT_METHODS, ParameterWatcher, SnapshotFile, open_channel
from prometheus_client import REGISTRY

from broker_bridge.bridge import Bridge
from broker_bridge.opening import open_parts
from broker_bridge.routes import ROUTES_PATH
from broker_bridge.servicer import BridgeServicer
from broker_bridge.settings import BridgeSettings
from broker_bridge.stats import BridgeMetrics
from services.runtime.garbage import calm_garbage_collector
from services.runtime.health import HealthBoard
from services.runtime.server import run, serve


async def main(settings: BridgeSettings) -> None:
    """Serves until told to stop."""
    calm_garbage_collector()
    health = HealthBoard()
    config = open_channel(
        settings.config_target,
        tls_ca=settings.config_tls_ca,
        token=settings.read_config_token(),
        idempotent=IDEMPOTENT_METHODS,
    )
    async with config, open_parts(settings, health) as parts:
        bridge = Bridge(parts, report=lambda serving, detail: health.set("routes", serving, detail))
        REGISTRY.register(BridgeMetrics(bridge.snapshots))
        watcher = ParameterWatcher(
            config,
            ROUTES_PATH,
            on_change=bridge.apply,
            snapshot=SnapshotFile(settings.snapshot, ROUTES_PATH) if settings.snapshot else None,
            report=partial(health.set, "config"),
        )
        await serve(
            settings=settings,
            register=BridgeServicer(bridge, parts=parts, health=health).register,
            health=health,
            tasks=[watcher.run, bridge.watch],
            before_stop=[bridge.stop],
        )


if __name__ == "__main__":
    description = "From ActiveMQ to gRPC services, AWS Lambda, SQS, SNS and Kinesis, HTTP endpoints and other queues."
    sys.exit(run(main, BridgeSettings, prog="python -m broker_bridge", description=description))
