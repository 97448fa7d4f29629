"""Cassandra in production: deployment patterns (`*.yaml`), backup to S3 and restore (`backup`)."""
