"""The bridge: from the queues of ActiveMQ to gRPC services, AWS, HTTP endpoints and other queues, at least once.

Read the domain first: `message` (what arrives), `routes` (where it comes from and goes to), `target_specs` (which
place is meant), `targets` (the port it leaves by) and `guard` (how often it is called), `settlement` (when it may be
acknowledged), `dedup` (whether it was delivered before), `retry_policy` (how often it is tried), `dead_letters` (how it
is given up). `pump` is the one loop over them: take, filter, deliver, acknowledge, retry or dead-letter. `session`
keeps a subscription alive over connections that come and go, `acknowledging` chooses whether one ACK stands for many
messages, `namesakes` leaves to the broker what it could not tell apart, `moving` moves single messages; `activemq` is a
connection over `stomp_client`, the only file that knows stomp.py, and `frame_reader`, which has the usual frames read
by `compiled` where that was built. The `*_target` files deliver to one kind of place each. `bridge` runs a pump per
route and changes them as their parameters change; `servicer` answers operators.
"""
