"""What holds for every test: hypothesis measures no time, since a busy machine would fail what is right."""

from hypothesis import HealthCheck, settings

settings.register_profile("penstock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("penstock")
