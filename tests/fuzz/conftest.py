"""Two profiles: a small one that is the same each time, and ``HYPOTHESIS_PROFILE=fuzz`` for long runs."""

import os

from hypothesis import HealthCheck, settings

quiet = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
settings.register_profile(
    "default", max_examples=150, deadline=None, derandomize=True, suppress_health_check=quiet
)
settings.register_profile("fuzz", max_examples=5000, deadline=None, suppress_health_check=quiet)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
