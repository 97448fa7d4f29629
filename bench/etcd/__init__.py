"""etcd as a peer: Debian's `etcd-server` below `.cache/etcd`, not installed, and stubs of the calls measured."""

import importlib
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import grpc

from deploy.local.part import PartError, PartNotReadyError, PartSpec

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "etcd"
_BINARY = CACHE / "usr" / "bin" / "etcd"
_GENERATOR = ROOT / ".tools" / "protos" / "bin" / "python"


def etcd_part(*, data_directory: Path, port: int, peer_port: int) -> PartSpec:
    """One member, its write-ahead log fsynced before a put is answered, as etcd does by default.

    Raises:
        PartError: the package cannot be had.
    """
    binary = _found()
    client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}"
    arguments = {
        "data-dir": str(data_directory / "etcd"),
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
        "log-level": "error",
    }
    data_directory.mkdir(parents=True, exist_ok=True)
    return PartSpec(
        name="etcd",
        argv=(str(binary), *(f"--{name}={value}" for name, value in arguments.items())),
        environment={"GOMAXPROCS": "2"},
        data_directory=data_directory,
        addresses={"grpc": f"127.0.0.1:{port}"},
        version=subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.split("\n")[0],
        is_real=True,
        ready=partial(_answers, f"127.0.0.1:{port}"),
        clean_exit_codes=frozenset({0, -15}),
    )


def etcd_api() -> tuple[ModuleType, ModuleType]:
    """Messages and stubs, generated from `rpc.proto` with the generator of the repository's own."""
    out = CACHE / "stubs"
    out.mkdir(parents=True, exist_ok=True)
    command = [str(_GENERATOR), "-m", "grpc_tools.protoc", f"-I{Path(__file__).parent}", f"--python_out={out}"]
    subprocess.run([*command, f"--grpc_python_out={out}", "rpc.proto"], check=True)
    if str(out) not in sys.path:
        sys.path.insert(0, str(out))
    return importlib.import_module("rpc_pb2"), importlib.import_module("rpc_pb2_grpc")


def _found() -> Path:
    if not _BINARY.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        try:
            subprocess.run(["apt-get", "download", "--quiet", "etcd-server"], cwd=CACHE, check=True)
            (package,) = CACHE.glob("etcd-server_*.deb")
            subprocess.run(["dpkg-deb", "-x", package, CACHE], check=True)
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            raise PartError(f"no etcd: put its binary at {_BINARY}, or `apt-get update` on Debian ({error})") from error
    return _BINARY


async def _answers(address: str) -> None:
    """One Range of etcd's own API."""
    messages, stubs = etcd_api()
    options = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        try:
            await stubs.KVStub(channel).Range(messages.RangeRequest(key=b"ready"), timeout=2)
        except grpc.aio.AioRpcError as error:
            raise PartNotReadyError(f"etcd at {address}: {error.code().name}") from error
