"""The config service: a hierarchical, versioned parameter store that pushes changes to its watchers.

Reading order: `path`, `parameter`, `data_type`, `update` (the rules); `crypto`, `pattern` (secrets, bounded matching);
`store`, `sqlite_store` (at rest); `watch`, `expiry`, `registry` (what callers can do); `encoding`, `servicer`
(gRPC); `settings`, `__main__`.
"""
