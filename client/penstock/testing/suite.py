"""The suite as one object: the same in containers and on the embedded stack."""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from penstock.testing.clients import SuiteClients
from penstock.testing.docker_parts import DockerParts
from penstock.testing.embedded_parts import EmbeddedParts
from penstock.testing.engine import engine_trouble
from penstock.testing.mode import Mode, chosen_mode, resolved_mode
from penstock.testing.parts import Parts, with_dependencies
from penstock.testing.recorder import Recorder


class PenstockSuite(SuiteClients):
    """Runs from `with` to its end: every part serves on entry, everything is gone afterwards.

    with PenstockSuite(["bridge"]) as suite, suite.recorder() as recorder:
        suite.put_route("orders", {"source": "queue://orders", "targets": [recorder.target]})
        suite.publish("orders", "one")
        assert recorder.await_deliveries(1)[0].text == "one"

    Parts are named activemq, valkey, aws-emulator, lambda-endpoint, config, persistence, filtering, tracking, bridge.
    """

    def __init__(
        self,
        parts: Sequence[str] = (),
        *,
        mode: Mode | str = "",
        environment: Mapping[str, Mapping[str, str]] | None = None,
        functions: Path | None = None,
        home: Path | None = None,
    ) -> None:
        """Nothing is started yet.

        Args:
            parts: what to run; what these need is added. None named means all.
            mode: `embedded`, `docker` or `auto`, the default; PENSTOCK_TESTING wins over it.
            environment: variables to add, by part.
            functions: a functions.toml for the local Lambda; None for the demo's.
            home: folder of logs and data on the embedded stack; None for a temporary one, removed at the end.

        Raises:
            ModeError: the mode is none of the three.
            ValueError: a part has an unknown name.
        """
        super().__init__()
        self.mode = chosen_mode(os.environ, mode)
        """The mode asked for; after entry EMBEDDED or DOCKER."""
        self._names = with_dependencies(parts)
        self._environment = environment or {}
        with_dependencies(self._environment)
        self._functions = functions
        self._home = home
        self._resources = ExitStack()
        self._parts: Parts

    def __enter__(self) -> Self:
        """Start the parts.

        Raises:
            EngineUnavailableError: Docker was chosen and no engine answers.
            ImageUnavailableError: an image is missing; the message names the variable that chooses it.
            PartFailedError: a part did not start; the end of its log is in the message.
        """
        self.mode = resolved_mode(self.mode, engine_trouble)
        with ExitStack() as resources:
            self._parts = self._describe(resources)
            self._parts.open()
            resources.callback(self._parts.close)
            resources.callback(self._close_channels)
            self._resources = resources.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resources.close()

    @property
    def description(self) -> str:
        """What runs the parts, in words for the screen."""
        return self._parts.description

    @property
    def addresses(self) -> Mapping[str, Mapping[str, str]]:
        """By part: the name of each listener (grpc, metrics, http, stomp, openwire, redis) and its `host:port`."""
        return self._parts.addresses

    def address(self, part: str, listener: str = "grpc") -> str:
        """`host:port` of a listener, the same after a restart of the part.

        Raises:
            KeyError: no such part or listener; the message lists those there are.
        """
        found = self.addresses[self._known(part)]
        if listener not in found:
            raise KeyError(f"{part} has no listener {listener!r}; it has {', '.join(found)}")
        return found[listener]

    def recorder(self) -> Recorder:
        """A target in this process, which the bridge reaches in either mode. Enter it by `with`."""
        return Recorder(self._parts.listening)

    def kill(self, part: str) -> None:
        """End a part by SIGKILL, as a crash does; it stays down until `start`. Raises `PartFailedError` or KeyError."""
        self._parts.kill(self._known(part))

    def stop(self, part: str) -> None:
        """End a part in its own way: it gets 15 s to drain, in containers 20; it stays down until `start`."""
        self._parts.stop(self._known(part))

    def start(self, part: str) -> None:
        """Start a part that is down, on the same addresses and data, and wait for it. Raises `PartFailedError`."""
        self._parts.start(self._known(part))

    def restart(self, part: str) -> None:
        """Stop a part and start it again."""
        self.stop(part)
        self.start(part)

    def logs(self, part: str) -> str:
        """What a part has printed since the suite began, as JSON lines for the five services."""
        return self._parts.logs(self._known(part))

    def _known(self, part: str) -> str:
        if part not in self._names:
            raise KeyError(f"no part {part!r} runs; there are {', '.join(self._names)}")
        return part

    def _describe(self, resources: ExitStack) -> Parts:
        if self.mode is Mode.DOCKER:
            return DockerParts(self._names, environment=self._environment, functions=self._functions)
        home = self._home or Path(resources.enter_context(TemporaryDirectory(prefix="penstock-testing-")))
        return EmbeddedParts(self._names, home=home, environment=self._environment, functions=self._functions)
