"""Intake of tracking events: check, make durable, answer, ship.

Read `event` and `program` (what is checked), `lookup` (programs, cached) over `redis_store`, `frames`, `log` and
`group_commit` (the bounded log on disk), `privacy`, `facts`, `window`, `arrivals` and `intake` (the decision; `core`
and the folder `compiled` have it in C for the usual batch), `shipping` over `persistence_sink` or `kinesis_sink` (what
no store takes goes to `bad_events`), then the ways in: `servicer`, `delivery`, `http`, and `__main__`.
"""
