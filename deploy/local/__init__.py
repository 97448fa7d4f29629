"""The embedded stack: a real broker, cache and AWS doubles as plain child processes on the loopback interface.

Reading order: `part` (what a part is), `java` and `jars` (what a broker is made of), `activemq`, `valkey`, `emulator`
(the parts), `process` and `supervisor` (how they are kept running), `stack` (all of them together).
"""
