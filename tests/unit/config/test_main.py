"""What the process of the config service tells gRPC."""

import subprocess
import sys

_SERVER = """
import services.config.__main__
import grpc
from concurrent.futures import ThreadPoolExecutor
server = grpc.server(ThreadPoolExecutor(1))
server.add_insecure_port("127.0.0.1:0")
server.start()
server.stop(None).wait()
"""


def test_grpc_knows_the_experiment_that_is_turned_off() -> None:
    """It complains of names it does not know: the line goes with the release that drops this one."""
    ended = subprocess.run([sys.executable, "-c", _SERVER], capture_output=True, text=True, check=True, timeout=60)
    assert ended.stderr == ""
