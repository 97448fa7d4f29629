"""`make chaos-bridge`: the long form of the bridge's chaos, on a broker and a Valkey of its own.

20,000 messages from a JMS producer and 20 random faults; 10,000 good messages, 1,000 poisoned ones among them, and 6
faults; and the control, a bridge that acknowledges before it delivers, which must be caught. Exit code 1 when a promise
is broken.
"""

import argparse
import asyncio
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from deploy.local.jms import find_jms_client
from tests.integration.chaos import Campaign, Chaos, Fault, Report, drawn
from tests.integration.conftest import describe_activemq, describe_valkey, running


def campaigns(messages: int, faults: int, seed: int) -> Sequence[Campaign]:
    """What is run, one after the other; the last is the control."""
    few = max(faults // 3, 1)
    return (
        Campaign(good=messages, faults=drawn(faults, seed), seed=seed),
        Campaign(
            good=messages // 2,
            poison=messages // 40,
            refused=messages // 40,
            faults=drawn(few, seed + 1),
            seed=seed,
            batch=20,
        ),
        Campaign(
            good=messages // 10,
            faults=[Fault.KILL_BRIDGE] * 3,
            seed=seed,
            batch=20,
            work_seconds=0.1,
            module="tests.integration.early_ack_bridge",
        ),
    )


async def main(planned: Sequence[Campaign]) -> int:
    """Runs them; 0 when every promise was kept and the control was caught."""
    with tempfile.TemporaryDirectory(prefix="penstock-chaos-") as home:
        directory = Path(home)
        async with (
            running(describe_activemq, directory / "activemq") as activemq,
            running(describe_valkey, directory / "valkey") as valkey,
        ):
            jms = replace(find_jms_client(f"tcp://{activemq.addresses['openwire']}"), runs_source=False)
            reports: list[Report] = []
            for number, campaign in enumerate(planned):
                here = directory / str(number)
                here.mkdir()
                chaos = Chaos(
                    campaign=campaign, activemq=activemq, valkey=valkey, jms=jms, directory=here, progress=say
                )
                reports.append(await chaos.run())
                say("\n".join(reports[-1].lines()))
    *kept, control = reports
    broken = sum(len(report.violations()) for report in kept)
    say(f"{broken} promises broken; the control lost {control.lost} messages" + ("" if control.lost else ": it must"))
    return 1 if broken or not control.lost else 0


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.chaos_bridge", description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000, help="good messages of the first campaign")
    parser.add_argument("--faults", type=int, default=20, help="faults of the first campaign")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="repeats the choices of a run")
    given = parser.parse_args()
    sys.exit(asyncio.run(main(campaigns(given.messages, given.faults, given.seed))))
