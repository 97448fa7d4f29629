"""Python's search for reference cycles, made rare."""

import gc


def calm_garbage_collector() -> None:
    """Lets Python look for reference cycles seldom; call it once, when everything is imported.

    A message in flight is a dozen objects without a cycle among them. By default they are searched every sixty
    messages, which costs a tenth of the time of transport; memory is freed by reference counts in any case.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 50)
