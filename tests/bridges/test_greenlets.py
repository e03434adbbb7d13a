"""Programs that gevent or eventlet have patched: threads are greenlets there, and the bridges work."""

import concurrent.futures
import os
import subprocess
import sys

import httpx
import pytest

from tests.processes import ROOT, free_port, program

# On one Python, like the real servers.
pytestmark = pytest.mark.server

PROGRAM = """
{patch}

import asyncio
import threading
from contextvars import ContextVar

from asgiadapt import LoopThread, Local, async_to_sync, sync_to_async

variable = ContextVar("variable", default=None)
local = Local()


async def awaits(number):
    await asyncio.sleep(0.01)
    seen = variable.get(), local.value
    variable.set(("set below", number))
    local.value = -number
    doubled = await sync_to_async(double)(number)
    also = await sync_to_async(double, thread_sensitive=False)(number)
    return seen, doubled, also


def double(number):
    return nested(number) * 2


async def same(number):
    await asyncio.sleep(0)
    return number


nested = async_to_sync(same)
call = async_to_sync(awaits{options})


def greenlet(number):
    variable.set(number)
    local.value = number
    result = call(number)
    return result == ((number, number), 2 * number, 2 * number) and (
        variable.get(), local.value
    ) == (("set below", number), -number)


async def numbers():
    for number in range(3):
        await asyncio.sleep(0)
        yield number


def fails():
    async def raises():
        raise KeyError("refused")

    try:
        async_to_sync(raises)()
    except KeyError as error:
        return error.args == ("refused",)


outcomes = run_all([lambda n=n: greenlet(n) for n in range(50)])
outcomes += run_all([lambda: list(async_to_sync(numbers)()) == [0, 1, 2], fails] * 5)
print(outcomes.count(True), len(outcomes))
"""
GEVENT = """
from gevent import monkey
monkey.patch_all()
import gevent

def run_all(functions):
    greenlets = [gevent.spawn(function) for function in functions]
    gevent.joinall(greenlets, timeout=30, raise_error=True)
    return [greenlet.value for greenlet in greenlets]
"""
EVENTLET = """
import eventlet
eventlet.monkey_patch()

def run_all(functions):
    return [greenlet.wait() for greenlet in [eventlet.spawn(function) for function in functions]]
"""


@pytest.mark.parametrize("options", ["", ", force_new_loop=True", ", loop=LoopThread()"])
@pytest.mark.parametrize("patch", [GEVENT, EVENTLET], ids=["gevent", "eventlet"])
def test_many_greenlets_call_async_code_at_the_same_time(patch: str, options: str) -> None:
    """Each with its own context; and sync code below comes back to a thread."""
    done = subprocess.run(
        # Both libraries warn of what is to come in Python, and eventlet of its own end.
        [sys.executable, "-W", "ignore", "-c", PROGRAM.format(patch=patch, options=options)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "60 60\n", "")


SITE = """
import asyncio
from flask import Flask
from asgiadapt import async_to_sync, sync_to_async

app = Flask(__name__)


@app.get("/<int:number>")
def page(number):
    return str(async_to_sync(work)(number))


async def work(number):
    await asyncio.sleep(0.02)
    return await sync_to_async(lambda: number * 2)()
"""


def test_views_under_a_gevent_worker_call_async_code(tmp_path: object) -> None:
    """50 requests at a time, on gunicorn."""
    with open(f"{tmp_path}/site_of_greenlets.py", "w") as file:
        file.write(SITE)
    port = free_port()
    command = ["-m", "gunicorn", "-k", "gevent", "-b", f"127.0.0.1:{port}", "site_of_greenlets:app"]
    with program(*command, port=port, path=str(tmp_path)) as running:
        with httpx.Client(base_url=running.url, timeout=30) as client:
            with concurrent.futures.ThreadPoolExecutor(50) as threads:
                answers = list(threads.map(lambda number: client.get(f"/{number}").text, range(150)))
        assert answers == [str(2 * number) for number in range(150)]
        assert running.stop() == 0
