"""How many connections a process may hold: each is an open file."""

import resource

_OTHER_FILES = 512  # the log, gRPC, Redis


def connections_allowed(wanted: int) -> int:
    """Up to `wanted`; raises the limit of open files as far as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = wanted + _OTHER_FILES
    allowed = files if hard == resource.RLIM_INFINITY else min(files, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return max(allowed - _OTHER_FILES, 1)
