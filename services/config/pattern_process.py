"""The child process of `pattern`: `[pattern, value]` lines in, `true`, `false` or `"fault"` lines out, each in time.

Runs as a script without the product on its path. It ends with its input, and by SIGVTALRM when a match takes too long.
"""

import json
import re
import signal
import sys
import warnings


def main() -> None:
    cpu_seconds = float(sys.argv[1])
    warnings.simplefilter("ignore")  # what a later Python may read differently is a matter of the caller
    for line in sys.stdin:
        pattern, value = json.loads(line)
        # Not handled, so its default action ends the process even while the engine holds the interpreter.
        signal.setitimer(signal.ITIMER_VIRTUAL, cpu_seconds)
        answer = _answer(pattern, value)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        sys.stdout.write(f"{json.dumps(answer)}\n")
        sys.stdout.flush()


def _answer(pattern: str, value: str) -> bool | str:
    try:
        return re.fullmatch(pattern, value) is not None
    except (re.error, OverflowError, RecursionError) as error:
        return str(error)


if __name__ == "__main__":
    main()
