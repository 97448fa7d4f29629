"""What holds for every test: hypothesis measures no time, and Ctrl-C reaches the processes that tests start."""

import signal

from hypothesis import HealthCheck, settings

# A busy machine would fail what is right.
settings.register_profile("penstock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("penstock")

# A shell that starts the tests in the background lets them ignore it, and so would every process they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
