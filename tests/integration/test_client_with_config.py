"""The watcher and client against the real config service, killed and started again."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from penstock.client import ParameterClient

from deploy.local.ports import free_port_numbers
from services.runtime.channel import open_channel
from services.runtime.errors import AbortedError
from services.runtime.health import HealthState
from tests.integration.config_follower import PATH, following, ready

ROOT = Path(__file__).resolve().parents[2]


class ConfigProcess:
    """`python -m services.config` on a port and a database of its own."""

    def __init__(self, directory: Path) -> None:
        (self.port,) = free_port_numbers(1)
        self.address = f"127.0.0.1:{self.port}"
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PENSTOCK_")}
        self._environment = environment | {
            "PENSTOCK_CONFIG_PORT": str(self.port),
            "PENSTOCK_CONFIG_METRICS_PORT": "0",
            "PENSTOCK_CONFIG_DATABASE": str(directory / "parameters.sqlite3"),
            "PENSTOCK_CONFIG_KEY_FILE": str(directory / "secret.key"),
            "PYTHONPATH": f"{ROOT}:{ROOT / 'protos' / 'gen'}",
        }
        self._child: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Starts and waits until it serves."""
        self._child = subprocess.Popen(
            [sys.executable, "-m", "services.config"], env=self._environment, stderr=subprocess.PIPE, text=True
        )
        assert self._child.stderr
        said = []
        for line in self._child.stderr:
            said.append(line)
            if '"serving"' in line:
                return
        raise AssertionError(f"the config service did not come up: {said}")

    def kill(self) -> None:
        """Kill -9, if it runs."""
        if self._child:
            self._child.send_signal(signal.SIGKILL)
            self._child.communicate()
            self._child = None


@pytest.fixture
def config(tmp_path: Path) -> Iterator[ConfigProcess]:
    """A started config service; none outlives the test."""
    process = ConfigProcess(tmp_path)
    process.start()
    yield process
    process.kill()


async def test_parameters_are_followed_through_a_kill_of_the_config_service(
    config: ConfigProcess, tmp_path: Path
) -> None:
    """Values stay while it is away, and what is written after its return is pushed again."""
    async with (
        open_channel(config.address) as channel,
        following(config.address, tmp_path / "routes.json") as follower,
    ):
        await ready(follower)
        client = ParameterClient(channel)
        assert await client.put(f"{PATH}/a", '{"n": 1}', expected_version=0) == 1
        await client.put(f"{PATH}/b", '{"n": 1}')
        await client.put("/penstock/elsewhere", "1")
        await follower.until(lambda: len(follower.told) == 2)
        config.kill()
        await follower.until(lambda: "away since" in follower.state().detail)
        assert follower.state().serving
        config.start()
        await follower.until(lambda: follower.state() == HealthState(serving=True))
        await client.put(f"{PATH}/a", '{"n": 2}', expected_version=1)
        await client.delete(f"{PATH}/b")
        await follower.until(lambda: len(follower.told) == 4)
        assert follower.told == [("a", '{"n": 1}'), ("b", '{"n": 1}'), ("a", '{"n": 2}'), ("b", None)]
        with pytest.raises(AbortedError):
            await client.put(f"{PATH}/a", "3", expected_version=1)
        assert [parameter.value async for parameter in client.list(PATH)] == ['{"n": 2}']


async def test_snapshot_of_the_real_service_starts_a_process_without_it(config: ConfigProcess, tmp_path: Path) -> None:
    """The second start finds nobody and goes on with what the first one knew."""
    snapshot = tmp_path / "routes.json"
    async with open_channel(config.address) as channel, following(config.address, snapshot) as follower:
        await ready(follower)
        await ParameterClient(channel).put(f"{PATH}/a", "1")
        await follower.until(lambda: follower.told == [("a", "1")])
    config.kill()
    async with following(config.address, snapshot) as follower:
        await ready(follower)
        assert follower.told == [("a", "1")]
        await follower.until(lambda: "going on with revision" in follower.state().detail)
