"""What the processes of Penstock share: errors, settings, health, telemetry, the gRPC server and channel, SQLite files.

Read `errors` and `settings` first; `server` ties the others together. Nothing here knows a service.
"""
