"""Below the monkey patches of gevent and eventlet, where threads are greenlets: each in a program of its own."""

import http.client
import importlib.util
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.processes import ROOT, Program, free_port, program

# On one Python, like the real servers.
pytestmark = pytest.mark.server

SECONDS = 50
TOGETHER = 50

START = {
    "gevent": """
import gevent.monkey
gevent.monkey.patch_all()
import gevent

def all_of(functions):
    '''What they give, each called in a greenlet of its own.'''
    greenlets = [gevent.spawn(function) for function in functions]
    gevent.joinall(greenlets, raise_error=True)
    return [greenlet.value for greenlet in greenlets]

def start(function):
    return gevent.spawn(function).join
""",
    "eventlet": """
import eventlet
eventlet.monkey_patch()

def all_of(functions):
    '''What they give, each called in a greenlet of its own.'''
    return [greenlet.wait() for greenlet in [eventlet.spawn(function) for function in functions]]

def start(function):
    return eventlet.spawn(function).wait
""",
}

PRELUDE = """
import faulthandler; faulthandler.enable()
import asyncio, contextvars, greenlet, os, signal, socket, sys, threading, time
from contextlib import asynccontextmanager, contextmanager
from asgiadapt import (
    LoopThread, ThreadSensitiveContext, WorkerPool, async_to_sync, set_default_loop, sync_to_async,
)

variable = contextvars.ContextVar("variable", default=None)
anywhere = {"thread_sensitive": False}

async def echo(value):
    await asyncio.sleep(0.01)
    return value

async def below(value):
    return await sync_to_async(wait_and_give)(value)

async def below_anywhere(value):
    return await sync_to_async(wait_and_give, **anywhere)(value)

def wait_and_give(value):
    time.sleep(0.01)
    return value

async def deep(value):
    value = await sync_to_async(async_to_sync(below))(value)
    value = await sync_to_async(async_to_sync(below_anywhere), **anywhere)(value)
    return await sync_to_async(async_to_sync(deeper), **anywhere)(value)

async def deeper(value):
    return await sync_to_async(async_to_sync(below))(value)

def together(function, count):
    '''Whether *function* gives its argument in *count* greenlets at the same time.'''
    return all_of([lambda number=number: function(number) for number in range(count)]) == list(range(count))
"""


@pytest.fixture(params=START)
def library(request: pytest.FixtureRequest) -> str:
    """One that is installed; neither is there for every version of Python on its first day."""
    name: str = request.param
    pytest.importorskip(name) if name == "gevent" else _need(name)
    return name


def _need(name: str) -> None:
    # Importing eventlet warns, and changes things.
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")


def run(library: str, text: str) -> list[str]:
    """What the program writes. It has to end by itself, well, and complain of nothing."""
    command = [sys.executable, "-W", "ignore", "-c", START[library] + PRELUDE + textwrap.dedent(text)]
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        try:
            output, complaints = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)  # it says where it hangs
            output, complaints = process.communicate()
            pytest.fail(f"the program hangs: {output}\n{complaints}")
    assert process.returncode == 0, output + complaints
    assert complaints == "", output + complaints
    return output.splitlines()


CALLS = {
    "async code": "async_to_sync(echo)",
    "a sensitive call below": "async_to_sync(below)",
    "a call anywhere below": "async_to_sync(below_anywhere)",
    "calls below calls": "async_to_sync(deep)",
    "a new loop": "async_to_sync(deep, force_new_loop=True)",
    "a loop thread": "async_to_sync(deep, loop=LOOP)",
    "one call after the other": "lambda value: async_to_sync(below)(async_to_sync(echo)(value))",
}


@pytest.mark.parametrize("count", [1, TOGETHER])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_greenlets_call_async_code(library: str, call: str, count: int) -> None:
    """Alone, and many at the same time, on the thread that they share."""
    assert run(library, f"LOOP = LoopThread()\nprint(together({call}, {count}))") == ["True"]


def test_greenlets_that_wait_for_each_other_do_not_starve(library: str) -> None:
    """More of them wait in async code than the libraries have threads to spare."""
    assert run(
        library,
        f"""
        arrived = []
        async def meet(number):
            arrived.append(number)
            while len(arrived) < {TOGETHER}:
                await asyncio.sleep(0.001)
            return await sync_to_async(async_to_sync(echo))(number)
        print(together(async_to_sync(meet), {TOGETHER}))
        """,
    ) == ["True"]


def test_other_greenlets_go_on_while_one_waits(library: str) -> None:
    """The one that waits does not stop the hub of its thread: another one ends its waiting."""
    assert run(
        library,
        """
        released = []
        async def waits():
            while not released:
                await asyncio.sleep(0.001)
            return "released"
        def release():
            time.sleep(0.01)
            released.append(True)
        ended = start(release)
        print(async_to_sync(waits)())
        ended()
        """,
    ) == ["released"]


def test_sensitive_calls_run_in_the_greenlet_that_waits(library: str) -> None:
    """It is what stands for the calling thread; its thread-locals are there."""
    assert run(
        library,
        f"""
        local = threading.local()
        def same(value, expected):
            time.sleep(0.001)
            return value if greenlet.getcurrent() is expected and local.value == value else None
        async def main(value, expected):
            value = await sync_to_async(same)(value, expected)
            return await sync_to_async(async_to_sync(again))(value, expected)
        async def again(value, expected):
            return await sync_to_async(same)(value, expected)
        def call(value):
            local.value = value
            return async_to_sync(main)(value, greenlet.getcurrent())
        print(together(call, {TOGETHER}))
        """,
    ) == ["True"]


def test_context_variables_are_carried_there_and_back(library: str) -> None:
    """Each greenlet has its own."""
    assert run(
        library,
        f"""
        def adds():
            time.sleep(0.001)
            variable.set(variable.get() + 1)
        async def main():
            await sync_to_async(adds)()
            await sync_to_async(adds, **anywhere)()
            await asyncio.sleep(0.001)
            variable.set(variable.get() + 1)
        def call(value):
            variable.set(value)
            async_to_sync(main)()
            return variable.get() - 3
        print(together(call, {TOGETHER}))
        """,
    ) == ["True"]


def test_errors_come_through(library: str) -> None:
    """From the async code, and from sync code below it."""
    assert run(
        library,
        """
        def fails():
            raise ValueError("sync")
        async def calls():
            await sync_to_async(fails)()
        async def fails_itself():
            raise ValueError("async")
        def call(function):
            try:
                async_to_sync(function)()
            except ValueError as error:
                return str(error)
        print(*all_of([lambda: call(calls), lambda: call(fails_itself)]))
        """,
    ) == ["sync async"]


def test_async_generators_and_context_managers_are_used_in_greenlets(library: str) -> None:
    """Each is run by one task on a loop of its own."""
    assert run(
        library,
        f"""
        @asynccontextmanager
        async def manages(value):
            async with asyncio.timeout(30):
                yield await below(value)
        async def counts(value):
            for _ in range(3):
                yield await below(value)
        def call(value):
            with async_to_sync(manages)(value) as entered:
                assert entered == value
                assert list(async_to_sync(counts)(value)) == [value] * 3
            return value
        print(together(call, {TOGETHER}))
        """,
    ) == ["True"]


def test_the_default_loop_serves_greenlets(library: str) -> None:
    """All of them share it, and what is bound to it."""
    assert run(
        library,
        f"""
        async def current_loop():
            await asyncio.sleep(0.001)
            return id(asyncio.get_running_loop())
        with LoopThread() as loop:
            set_default_loop(loop)
            print(len(set(all_of([async_to_sync(current_loop)] * {TOGETHER}))))
            print(together(async_to_sync(deep), {TOGETHER}))
            set_default_loop(None)
        """,
    ) == ["1", "True"]


def test_the_executor_and_the_resolver_of_the_loop_work(library: str) -> None:
    """Both are threads to asyncio."""
    assert run(
        library,
        f"""
        async def resolves(value):
            assert await asyncio.get_running_loop().getaddrinfo("localhost", 80)
            return await asyncio.to_thread(wait_and_give, value)
        print(together(async_to_sync(resolves), {TOGETHER}))
        """,
    ) == ["True"]


def test_async_code_talks_to_greenlets_through_sockets(library: str) -> None:
    """The server is a greenlet with patched sockets, the clients are coroutines."""
    assert run(
        library,
        f"""
        listener = socket.create_server(("127.0.0.1", 0))
        def answer(connection):
            with connection:
                connection.sendall(connection.recv(100))
        def serve():
            for _ in range({TOGETHER}):
                connection, _ = listener.accept()
                start(lambda connection=connection: answer(connection))
        ended = start(serve)
        async def asks(value):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(str(value).encode())
            answer = int(await reader.read(100))
            writer.close()
            await writer.wait_closed()
            return answer
        print(together(async_to_sync(asks), {TOGETHER}))
        ended()
        listener.close()
        """,
    ) == ["True"]


def test_sync_code_below_uses_patched_sockets(library: str) -> None:
    """In the calling greenlet, and on threads of its own."""
    assert run(
        library,
        f"""
        def talks(value):
            near, far = socket.socketpair()
            with near, far:
                near.sendall(str(value).encode())
                return int(far.recv(100))
        async def main(value):
            value = await sync_to_async(talks)(value)
            return await sync_to_async(talks, **anywhere)(value)
        print(together(async_to_sync(main), {TOGETHER}))
        """,
    ) == ["True"]


def test_a_call_that_is_cancelled_inside_leaves_its_greenlet_usable(library: str) -> None:
    """By a time limit of the async code."""
    assert run(
        library,
        f"""
        async def limited(value):
            try:
                async with asyncio.timeout(0.01):
                    await asyncio.Event().wait()
            except TimeoutError:
                return await below(value)
        print(together(async_to_sync(limited), {TOGETHER}))
        """,
    ) == ["True"]


def test_left_over_tasks_are_cancelled(library: str) -> None:
    """As on every kept loop."""
    assert run(
        library,
        """
        tasks = []
        async def leaves():
            tasks.append(asyncio.create_task(asyncio.Event().wait()))
            await asyncio.sleep(0)
        all_of([async_to_sync(leaves)] * 5)
        print(sum(task.cancelled() for task in tasks))
        """,
    ) == ["5"]


def test_worker_pools_are_made_of_real_threads(library: str) -> None:
    """They can be closed from a greenlet, which waits as one."""
    assert run(
        library,
        f"""
        with WorkerPool(3) as pool:
            async def main(value):
                return await sync_to_async(wait_and_give, executor=pool, **anywhere)(value)
            print(together(async_to_sync(main), {TOGETHER}))
        print(pool.stats().threads)
        """,
    ) == ["True", "0"]


def test_a_loop_of_somebody_else_on_the_thread_of_greenlets_works(library: str) -> None:
    """Sync code is called on threads, and comes back to that loop."""
    assert run(
        library,
        """
        async def main():
            loop = asyncio.get_running_loop()
            async def inner():
                return asyncio.get_running_loop() is loop
            async with ThreadSensitiveContext():
                assert await sync_to_async(async_to_sync(inner))()
            assert await sync_to_async(async_to_sync(inner), **anywhere)()
            return list(await asyncio.gather(*(deep(value) for value in range(20)))) == list(range(20))
        print(asyncio.run(main()))
        """,
    ) == ["True"]


def test_a_child_has_working_bridges(library: str) -> None:
    """Forked by a greenlet, after use."""
    assert (
        run(
            library,
            """
        print(together(async_to_sync(deep), 5), flush=True)
        child = os.fork()
        if child == 0:
            print(together(async_to_sync(deep), 5), flush=True)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        print(together(async_to_sync(deep), 5), flush=True)
        """,
        )
        == ["True"] * 3
    )


def test_ctrl_c_cancels_the_async_code(library: str) -> None:
    """It cleans up, the interrupt is raised in the main greenlet, and the next call works."""
    assert run(
        library,
        """
        async def waits():
            asyncio.get_running_loop().call_later(0.02, os.kill, os.getpid(), signal.SIGINT)
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                print("cleaned up", flush=True)
        try:
            async_to_sync(waits)()
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        print(async_to_sync(deep)("next"))
        """,
    ) == ["cleaned up", "interrupted", "next"]


def test_the_interpreter_ends_while_greenlets_wait(library: str) -> None:
    """In async code, and in sync code below."""
    assert run(
        library,
        """
        entered = []
        async def waits():
            entered.append(True)
            await asyncio.Event().wait()
        async def calls():
            entered.append(True)
            await sync_to_async(time.sleep, **anywhere)(1000)
        start(async_to_sync(waits))
        start(async_to_sync(calls))
        while len(entered) < 2:
            time.sleep(0.001)
        print("ends")
        """,
    ) == ["ends"]


# A real server.

SITE = """
import asyncio
from flask import Flask
from asgiadapt import async_to_sync, sync_to_async

app = Flask(__name__)
inside = 0

@app.route("/<int:number>")
async def page(number):
    return {"number": await sync_to_async(int)(number)}

async def count(number):
    global inside
    inside += 1
    while inside < 50:
        await asyncio.sleep(0.001)
    return await sync_to_async(int, thread_sensitive=False)(number)

@app.route("/together/<int:number>")
def together(number):
    return {"number": async_to_sync(count)(number)}

app.ensure_sync = lambda function: async_to_sync(function) if asyncio.iscoroutinefunction(function) else function
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A Flask site on a gunicorn worker of gevent."""
    pytest.importorskip("gevent")
    pytest.importorskip("gunicorn")
    folder = tmp_path_factory.mktemp("site")
    (folder / "site_with_async.py").write_text(SITE)
    port = free_port()
    options = ["-k", "gevent", "-w", "1", "-b", f"127.0.0.1:{port}", "--worker-connections", "200"]
    command = ["-W", "ignore", "-m", "gunicorn", *options, "site_with_async:app"]
    with program(*command, port=port, path=str(Path(folder))) as running:
        yield running
        running.check_output()
        assert running.stop() == 0


@pytest.mark.server
@pytest.mark.parametrize("path", ["", "together/"], ids=["async views", "views that call async code"])
def test_a_site_on_gunicorn_with_gevent_answers_many_requests_at_once(site: Program, path: str) -> None:
    """All of them are inside at the same time."""
    barrier = threading.Barrier(TOGETHER)

    def ask(number: int) -> int:
        barrier.wait(30)
        connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=40)
        try:
            connection.request("GET", f"/{path}{number}")
            answer: int = json.load(connection.getresponse())["number"]
        finally:
            connection.close()
        return answer

    with ThreadPoolExecutor(TOGETHER) as pool:
        assert list(pool.map(ask, range(TOGETHER))) == list(range(TOGETHER))
