"""A test that leaks a worker, or leaves one busy, fails; so does one that blocks its event loop."""

import faulthandler
import gc
import logging
import threading
import time
from collections.abc import Iterator

import pytest

from asgiadapt._threads import strand, workers

# A loop that was blocked for longer than this was blocked by us, and not by a busy machine.
BLOCKED = 3.0
# The shared thread of thread-sensitive calls is leased for good.
USUAL = {strand.leases: 1}


def pytest_collection_finish() -> None:
    """What the modules have brought stays: tests that collect garbage need not go through it each time."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Plugins that are imported now ask the collector who refers to what."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _no_worker_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Close every pool that the test has made; all of their threads have to leave."""
    before = set(workers._POOLS)
    yield
    for pool in set(workers._POOLS) - before:
        if not pool.close(timeout=10):
            faulthandler.dump_traceback()
            pytest.fail(f"workers are still busy after the test: {pool.stats()}")
    # Threads that have left their pool are gone in a moment. Those of our own pools may stay, idle.
    deadline = time.monotonic() + 10
    while True:
        alive = sum(thread.name == "asgiadapt-worker" for thread in threading.enumerate())
        if alive <= sum(pool.stats().threads for pool in before):
            break
        assert time.monotonic() < deadline, "a worker has left its pool and lives on"
        time.sleep(0.001)
    while any(pool.stats().busy > USUAL.get(pool, 0) or pool.stats().waiting for pool in before):
        if time.monotonic() > deadline:
            faulthandler.dump_traceback()
            pytest.fail("a call of a bridge is still running after the test")
        time.sleep(0.001)


@pytest.fixture(autouse=True)
def _no_broken_rule(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """What the validator finds is logged, also where the error comes to nobody."""
    yield
    for record in [*caplog.get_records("setup"), *caplog.get_records("call")]:
        assert record.name != "asgiadapt.validate", record.getMessage()


@pytest.fixture(autouse=True)
def _no_blocked_loop(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Debug mode reports a loop that was blocked, an error that nobody took, a task that was lost."""
    yield
    for record in [*caplog.get_records("setup"), *caplog.get_records("call")]:
        if record.name == "asyncio" and record.levelno >= logging.WARNING:
            if "Executing" in record.getMessage() and isinstance(record.args, tuple):
                assert float(str(record.args[1])) < BLOCKED, record.getMessage()
            assert "never retrieved" not in record.getMessage(), record.getMessage()
            assert "destroyed" not in record.getMessage(), record.getMessage()
