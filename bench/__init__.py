"""Benchmarks: ours beside a peer that exists, in the same run, so that the ratio means something on any machine.

`measure` is the one way of measuring and `report` the one way of telling; `load` is the client. One file per benchmark.
"""
