"""The gRPC services, one folder each, independent of one another: they speak gRPC, never Python.

Read a service in the order of its imports. The *domain* files come first (policy, index, parameter, event, ...): pure
values and decisions that know no transport and no database. `store` declares the port to the outside as a Protocol,
with its in-memory implementation beside it; `sqlite`, `redis_store` and `dynamodb` are adapters behind such ports.
`servicer`, `http` and `lambda_handler` are transports: they decode bytes into domain values and encode the answer.
`settings` names what an operator may set, and `__main__` constructs everything. What all share lies in `runtime`.
"""
