"""Chaos: broker, bridge and target are killed and stopped at random while a JMS producer publishes.

Each fault has a window, from its moment to the next fault. What arrives at the target for the second time in a window
is laid to that fault: none may be laid to a fault of the broker, at most the deliveries that ran at that moment to one
of the bridge or the target. What was sent and neither arrived nor became a dead letter is lost.
"""

import asyncio
import json
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import uuid4

from deploy.local.jms import JmsClient, JmsDrain, JmsMessage
from deploy.local.ports import free_port_numbers
from tests.integration.bridge_harness import REPOSITORY, BridgeProcess, eventually, process_settings
from tests.integration.chaos_target import REFUSED
from tests.integration.config_fake import FakeConfig
from tests.integration.parts import RunningPart

_PAUSE_SECONDS = 2.0
_DELIVERY_SECONDS = 1.5  # shorter than a pause: a stopped target is given up
_QUIET_POLLS = 5
_IDLE_POLLS = 50
_POLL_SECONDS = 0.2
_PATIENCE = 300.0
_ROUTE = "chaos"


class Fault(StrEnum):
    """What is done to whom."""

    KILL_BROKER = "kill -9 of the broker"
    STOP_BROKER = "SIGSTOP of the broker"
    KILL_BRIDGE = "kill -9 of the bridge"
    STOP_BRIDGE = "SIGSTOP of the bridge"
    KILL_TARGET = "kill -9 of the target"
    STOP_TARGET = "SIGSTOP of the target"


_OF_THE_BROKER = (Fault.KILL_BROKER, Fault.STOP_BROKER)


@dataclass(frozen=True, kw_only=True, slots=True)
class Campaign:
    """`good` messages to deliver, among them `poison` (no JSON) and `refused` (by the target) to become dead letters.

    The faults strike when random shares of the good messages have arrived. The target takes
    `work_seconds` for each delivery, so that a kill hits some that run. `module` is the bridge that runs.
    """

    good: int
    poison: int = 0
    refused: int = 0
    faults: Sequence[Fault] = ()
    seed: int = 0
    concurrency: int = 16
    batch: int = 1
    work_seconds: float = 0.005
    module: str = "broker_bridge"

    @property
    def bound(self) -> int:
        """The most messages that are with the target at the same time."""
        return self.concurrency * self.batch

    def messages(self) -> list[str]:
        """The bodies, shuffled."""
        bodies = [json.dumps({"number": number}) for number in range(self.good)]
        bodies += [REFUSED] * self.refused + ["{broken"] * self.poison
        random.Random(self.seed).shuffle(bodies)
        return bodies

    def strikes(self) -> list[tuple[int, Fault]]:
        """How many good messages have arrived when which fault strikes: evenly, moved at random by up to a third."""
        dice = random.Random(self.seed)
        step = self.good / (len(self.faults) + 1)
        return [(int(step * (n + dice.uniform(-0.33, 0.33))), fault) for n, fault in enumerate(self.faults, start=1)]


def drawn(count: int, seed: int) -> list[Fault]:
    """Random faults, every kind about as often."""
    dice = random.Random(seed)
    faults: list[Fault] = []
    while len(faults) < count:
        faults += dice.sample(list(Fault), len(Fault))
    return faults[:count]


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What became of the messages. `repeated` counts per fault, in order, what it brought twice."""

    campaign: Campaign
    lost: int
    left: int
    repeated: Sequence[tuple[Fault, int]]
    dead: Mapping[str, int]
    exit_code: int
    seconds: float

    def violations(self) -> list[str]:
        """Every promise that was broken."""
        campaign = self.campaign
        wanted = {"poison": campaign.poison, "refused": campaign.refused}
        broken = []
        if self.lost:
            broken.append(f"{self.lost} messages are lost")
        if self.left:
            broken.append(f"{self.left} messages are left in the queue")
        for fault, count in self.repeated:
            if count > (0 if fault in _OF_THE_BROKER else campaign.bound):
                broken.append(f"{count} messages arrived twice after {fault}")
        if any(self.dead.get(kind, 0) != count for kind, count in wanted.items()) or set(self.dead) - set(wanted):
            broken.append(f"dead letters are {dict(self.dead)}, not {wanted}")
        if self.exit_code:
            broken.append(f"the bridge ended with exit code {self.exit_code}")
        return broken

    def lines(self) -> list[str]:
        """For people."""
        total = self.campaign.good + self.campaign.poison + self.campaign.refused
        lines = [f"{total} messages, seed {self.campaign.seed}, {self.seconds:.0f} s: {self.lost} lost"]
        lines += [f"  {fault}: {count} arrived twice" for fault, count in self.repeated]
        if self.dead:
            lines.append(f"  dead letters: {dict(self.dead)}")
        return lines + [f"  BROKEN: {violation}" for violation in self.violations()]


class TargetProcess:
    """The target in a process of its own, and what its file says."""

    def __init__(self, directory: Path, work_seconds: float) -> None:
        self._work_seconds = work_seconds
        (self.port,) = free_port_numbers(1)
        self._file = directory / "arrived"
        self._log = directory / "target.log"
        self._process: asyncio.subprocess.Process | None = None
        self._read = 0
        self.arrivals: list[tuple[int, str]] = []
        self.ids: set[str] = set()

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.integration.chaos_target"),
                *(str(self.port), str(self._file), str(self._work_seconds)),
                cwd=REPOSITORY,
                stdout=log,
                stderr=log,
            )

    def send_signal(self, number: int) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def kill(self) -> None:
        self.send_signal(signal.SIGKILL)
        if self._process is not None:
            await self._process.wait()

    def count(self) -> int:
        """How many different messages have arrived."""
        if self._file.exists():
            with self._file.open("rb") as file:
                file.seek(self._read)
                text, _, _ = file.read().rpartition(b"\n")
            self._read += len(text) + bool(text)
            for line in text.decode().splitlines():
                at, identifier = line.split(" ")
                self.arrivals.append((int(at), identifier))
                self.ids.add(identifier)
        return len(self.ids)


@dataclass(slots=True, kw_only=True)
class Chaos:
    """One campaign on running parts."""

    campaign: Campaign
    activemq: RunningPart
    valkey: RunningPart
    jms: JmsClient
    directory: Path
    progress: Callable[[str], None] = lambda _text: None
    _queue: str = field(default_factory=lambda: f"chaos-{uuid4().hex[:8]}")
    _struck: list[tuple[int, Fault]] = field(default_factory=list)

    async def run(self) -> Report:
        """Publishes, strikes, waits until everything is worked off, and counts."""
        started = time.monotonic()
        config, target = FakeConfig(), TargetProcess(self.directory, self.campaign.work_seconds)  # type: ignore[abstract]
        bridge = BridgeProcess(
            process_settings(self.activemq, self.valkey) | {"delivery_timeout_seconds": str(_DELIVERY_SECONDS)},
            config,
            self.directory / "bridge.log",
            module=self.campaign.module,
        )
        await config.start()
        config.put(f"/penstock/routes/{_ROUTE}", json.dumps(self._route(target)))
        try:
            await target.start()
            await bridge.start()
            bodies = self.campaign.messages()
            sending = asyncio.ensure_future(
                asyncio.to_thread(self.jms.send, self._queue, [JmsMessage(text=body) for body in bodies])
            )
            for share, fault in self.campaign.strikes():
                if not await self._arrive(share, sending, bridge, target):
                    break
                self.progress(f"{target.count()} of {self.campaign.good} arrived: {fault}")
                # Deliveries end in waves, of which one has just ended: the fault shall hit the middle of the next.
                await asyncio.sleep(self.campaign.work_seconds / 2)
                self._struck.append((time.monotonic_ns(), fault))
                await self._strike(fault, bridge, target)
            sent = await sending
            await self._quiet(bridge)
            exit_code = await bridge.end()
        finally:
            await bridge.kill()
            await target.kill()
            await config.stop()
        return await self._report(dict(zip(sent, bodies, strict=True)), target, exit_code, time.monotonic() - started)

    async def _arrive(
        self, share: int, sending: asyncio.Future[Any], bridge: BridgeProcess, target: TargetProcess
    ) -> bool:
        """Waits until so many have arrived. False when no more come: what is missing is lost."""

        async def all_done() -> None:
            await asyncio.wait({sending})
            await self._quiet(bridge)

        done = asyncio.ensure_future(all_done())
        try:
            await eventually(lambda: target.count() >= share or done.done(), f"{share} arrived", _PATIENCE)
        finally:
            done.cancel()
        return target.count() >= share

    def _route(self, target: TargetProcess) -> dict[str, object]:
        return {
            "source": f"queue://{self._queue}",
            "targets": [{"grpc": {"address": f"127.0.0.1:{target.port}"}}],
            "body_format": "BODY_FORMAT_JSON",
            "batch": {"max_messages": self.campaign.batch},
            "concurrency": self.campaign.concurrency,
            "prefetch": 200,
            "retry": {"initial_backoff": "0.05s", "max_backoff": "0.2s", "max_attempts": 10},
        }

    async def _strike(self, fault: Fault, bridge: BridgeProcess, target: TargetProcess) -> None:
        strikes: Mapping[Fault, Callable[[], Awaitable[None]]] = {
            Fault.KILL_BROKER: lambda: _killed(self.activemq.kill, self.activemq.start),
            Fault.STOP_BROKER: lambda: _paused(self.activemq.pause, self.activemq.resume),
            Fault.KILL_BRIDGE: lambda: _killed(bridge.kill, bridge.start),
            Fault.STOP_BRIDGE: lambda: _paused(
                lambda: bridge.send_signal(signal.SIGSTOP), lambda: bridge.send_signal(signal.SIGCONT)
            ),
            Fault.KILL_TARGET: lambda: _killed(target.kill, target.start),
            Fault.STOP_TARGET: lambda: _paused(
                lambda: target.send_signal(signal.SIGSTOP), lambda: target.send_signal(signal.SIGCONT)
            ),
        }
        await strikes[fault]()

    async def _quiet(self, bridge: BridgeProcess) -> None:
        """Waits until the bridge has been subscribed and has held nothing for a while.

        One that has received nothing yet must be subscribed for longer: what is left may be on its way.
        """
        quiet, needed = 0, _QUIET_POLLS
        async with asyncio.timeout(_PATIENCE):
            while quiet < needed:
                await asyncio.sleep(_POLL_SECONDS)
                stats = await bridge.stats(_ROUTE)
                needed = _QUIET_POLLS if stats is not None and stats.received else _IDLE_POLLS
                holds_nothing = stats is not None and not stats.in_flight and await bridge.is_active(_ROUTE)
                quiet = quiet + 1 if holds_nothing else 0

    async def _report(self, bodies: Mapping[str, str], target: TargetProcess, exit_code: int, seconds: float) -> Report:
        target.count()
        left = await asyncio.to_thread(self.jms.drain, self._queue, keep=False)
        letters = await asyncio.to_thread(self.jms.drain, f"DLQ.{self._queue}")
        ended = {str(letter.properties["penstock_original_message_id"].value) for letter in letters.messages}
        return Report(
            campaign=self.campaign,
            lost=len(set(bodies) - target.ids - ended),
            left=left.count,
            repeated=repeated(self._struck, target.arrivals, bound=self.campaign.bound),
            dead=_dead(letters, bodies),
            exit_code=exit_code,
            seconds=seconds,
        )


def _dead(letters: JmsDrain, bodies: Mapping[str, str]) -> Mapping[str, int]:
    """How many dead letters are what they should be, by class; the others as `wrong: <what they are>`."""
    kinds = {"{broken": ("poison", "is not JSON"), REFUSED: ("refused", "the target refuses it")}
    found: Counter[str] = Counter()
    for letter in letters.messages:
        story = {name: str(value.value) for name, value in letter.properties.items()}
        body = bodies.get(story["penstock_original_message_id"], "")
        kind, reason = kinds.get(body, ("", "nobody"))
        is_right = story["penstock_error_class"] == kind and reason in story["penstock_reason"] and letter.body == body
        found[kind if is_right else f"wrong: {story['penstock_error_class']}: {story['penstock_reason'][:200]}"] += 1
    return found


def repeated(
    struck: Sequence[tuple[int, Fault]], arrivals: Sequence[tuple[int, str]], *, bound: int
) -> Sequence[tuple[Fault, int]]:
    """How many arrivals each fault brought twice; both are ordered by their moments.

    What bridge and target have in flight when one of them is struck arrives at most `bound` arrivals away from that
    moment. It comes again when the broker sends it again, which may be after the next fault. Everything else that
    comes again is due to the last fault before it.
    """
    counts, first, before = [0] * len(struck), dict[str, int](), 0
    positions = [sum(at < moment for at, _ in arrivals) for moment, _ in struck]
    for position, (at, identifier) in enumerate(arrivals):
        if first.setdefault(identifier, position) == position:
            continue
        last = sum(moment <= at for moment, _ in struck) - 1
        near = [index for index in range(last + 1) if abs(first[identifier] - positions[index]) <= bound]
        causes = [index for index in near if struck[index][1] not in _OF_THE_BROKER]
        if last < 0:
            before += 1
        else:
            counts[causes[-1] if causes else last] += 1
    if before:
        raise AssertionError(f"{before} messages arrived twice before the first fault")
    return [(fault, count) for (_, fault), count in zip(struck, counts, strict=True)]


async def _killed(kill: Callable[[], Awaitable[None]], start: Callable[[], Awaitable[None]]) -> None:
    await kill()
    await start()


async def _paused(pause: Callable[[], None], resume: Callable[[], None]) -> None:
    pause()
    try:
        await asyncio.sleep(_PAUSE_SECONDS)
    finally:
        resume()
