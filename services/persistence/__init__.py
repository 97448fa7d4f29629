"""Events at rest, exactly one row per message id.

Reading order: `record` (what a row is), `store` (the port and its in-memory implementation), `sqlite` and
`sqlite_writer` (the adapter), `servicer` and `delivery` (the transports), `settings`, `__main__`.
"""
