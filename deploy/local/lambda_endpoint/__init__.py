"""A local Lambda: the Invoke API for boto3 and the Runtime API for `awslambdaric` workers, on loopback.

Read in this order: `function` (what can be invoked), `invocation` (one call and how it ended), `worker` (one process
that runs a handler), `pool` (the workers of a function), `event_queue` (Event invocations, retried),
`records`, then the transports `http_server`, `invoke_api`, `runtime_api`, and `endpoint`, which puts all together.

Not enforced: memory, IAM, layers, versions and aliases, destinations and dead-letter queues of Event invocations.
"""
