"""What the processes of Penstock share: errors, settings, health, telemetry, the gRPC server and channel, retries.

Read `errors` and `settings` first; `server` ties the others together. Nothing here knows a service.
"""
