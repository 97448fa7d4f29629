"""The config service: a hierarchical, versioned parameter store that pushes changes to its watchers.

Reading order: `path`, `parameter`, `data_type`, `policies`, `tier`, `filters`, `update` (the rules); `crypto`,
`key_file`, `kms`, `pattern` (secrets, bounded matching); `store`, `memory_store`, `sqlite_store`, `dynamodb_store` (at
rest); `schemas`, `next_version`, `putting`, `watch`, `expiry`, `rewrapping`, `registry` (what can be done); `access`,
`audit`, `guard` (what a caller may do); `encoding`, `servicer` (gRPC); `http_endpoint`, `sigv4`, `ssm`, `ssm_http`
(AWS's protocol); `settings`, `assembly`, `__main__`.
"""
