"""Long runs against a real server: ``python -m tests.soak``. The test suite has a short one."""
