"""Which subscriptions want this message? Filter policies of SNS and EventBridge, compiled into an index per topic.

Reading order: `values`, `dialect`, `conditions`, `document`, `operators`, `message`, `policy`, `lint` and `explain` are
the language, which `docs/filter-policies.md` describes; `slots`, `bitset`, `ranges`, `lookup`, `column`, `access` and
`index` find the policies a message satisfies, `compiled/` does so in C; `languages`, `subscription` and `topics` match;
`store` and `config_store` are where subscriptions live; `servicer` is the API.
"""
