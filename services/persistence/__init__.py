"""Events at rest, exactly one row per message id.

Reading order: `record` (what a row is), `store` (the port and its in-memory implementation), `retention`, `told_store`;
the adapters `sqlite` with `sqlite_writer`, `dynamodb` with `dynamodb_table`, `cassandra` with `cassandra_session` and
`cassandra_schema`, the latter two on `time_index`; `matching` and `matching_job` (conversions); `stream` (records of
Kinesis) with `kinesis_consumer` and `lambda_handler`; `servicer` and `delivery` (the other transports), `settings`,
`assembly`, `__main__`.
"""
