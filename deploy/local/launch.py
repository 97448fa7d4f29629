"""Starts a command that dies with the process that started it: `launch.py <parent pid> <command> [argument ...]`.

Run as a script by path, between fork and the command proper: no code runs in a forked copy of a threaded parent.
"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1  # prctl(2); the setting survives execve(2)


def tied_to_parent(argv: Sequence[str]) -> tuple[str, ...]:
    """The argument vector that runs `argv` and has the kernel kill it (SIGKILL) when this process ends in any way.

    Linux only; elsewhere `argv` comes back as it is. The death that counts is that of the *thread* which starts the
    command, so start it from the thread that lives longest.
    """
    if sys.platform != "linux":
        return tuple(argv)
    # -I -S: neither the environment nor site-packages matter here, and they cost most of the interpreter's start.
    return (sys.executable, "-I", "-S", str(Path(__file__).resolve()), str(os.getpid()), *argv)


def main(arguments: Sequence[str]) -> int:
    import ctypes  # noqa: PLC0415 - only the launcher process itself needs it

    parent, command = int(arguments[0]), tuple(arguments[1:])
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        print(f"prctl(PR_SET_PDEATHSIG) failed: {os.strerror(ctypes.get_errno())}", file=sys.stderr)  # noqa: T201
        return 1
    if os.getppid() != parent:  # the parent died before prctl: its death will not be signalled any more
        return 1
    try:
        os.execvp(command[0], command)  # noqa: S606 - an argument vector, no shell
    except OSError as error:
        print(f"cannot start {command[0]}: {error.strerror}", file=sys.stderr)  # noqa: T201
        return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
