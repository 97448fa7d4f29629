"""`python tests/integration/slow_commit.py`: the config service on a disk that takes 20 ms for a commit.

What is acknowledged too early is then not yet written when the process is killed.
"""

import runpy
import sqlite3
import time
from typing import Any

from services.runtime.sqlite_file import SqliteFile


class SlowConnection(sqlite3.Connection):
    """Waits before every commit that has something to write."""

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        if sql == "COMMIT" and self.total_changes:
            time.sleep(0.02)
        return super().execute(sql, parameters)


def slow_connect(self: SqliteFile) -> sqlite3.Connection:
    connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, factory=SlowConnection)
    connection.execute("PRAGMA synchronous = FULL")
    return connection


if __name__ == "__main__":
    SqliteFile.connect = slow_connect  # type: ignore[method-assign]
    runpy.run_module("services.config", run_name="__main__")
