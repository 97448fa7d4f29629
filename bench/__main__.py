"""`make bench`: every benchmark, one after the other."""

import asyncio
import sys

from bench import bridge, config, filtering, outage, persistence, tracking

if __name__ == "__main__":
    sys.exit(
        max(asyncio.run(benchmark.main()) for benchmark in (filtering, tracking, outage, persistence, bridge, config))
    )
