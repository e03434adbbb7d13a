"""Forks, the end of the interpreter and Ctrl-C: each in a program of its own, which must not hang."""

import signal
import textwrap
from pathlib import Path

import pytest

from tests.processes import Programs

# Processes by the hundred; on one Python, like the real servers.
pytestmark = pytest.mark.server

PRELUDE = """
import faulthandler; faulthandler.enable()
import asyncio, atexit, os, signal, sys, threading, warnings
from asgiadapt import (
    AsyncSingleThreadContext, LoopStopped, LoopThread, ThreadSensitiveContext,
    async_to_sync, cancelled, set_default_loop, set_loop_factory, sync_to_async,
)
from asgiadapt._threads import loop_thread
warnings.simplefilter("ignore", DeprecationWarning)  # of os.fork() in a process with threads

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # whole lines, whoever else writes

async def echo(value):
    await asyncio.sleep(0)
    return value

async def both(value):
    value = await sync_to_async(echo_sync)(value)
    return await sync_to_async(echo_sync, thread_sensitive=False)(value)

def echo_sync(value):
    return value

def everything():
    '''Both bridges, in every combination.'''
    assert async_to_sync(echo)(1) == 1
    assert async_to_sync(both)(2) == 2
    assert async_to_sync(both, force_new_loop=True)(3) == 3
    with LoopThread() as loop:
        assert async_to_sync(both, loop=loop)(4) == 4
    async def main():
        assert await sync_to_async(async_to_sync(both))(5) == 5
        async with ThreadSensitiveContext():
            assert await sync_to_async(async_to_sync(both))(6) == 6
        return "everything works"
    return async_to_sync(main)()

def has_threads():
    '''Whether this Python starts threads now; at exit not all versions do.'''
    try:
        threading.Thread(target=int).start()
    except RuntimeError:
        return False
    return True

def ended_well(child):
    '''Whether the child has ended by itself, and well.'''
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

def fork(function):
    '''Run *function* in a child, and wait for it.'''
    child = os.fork()
    if child:
        say("parent", ended_well(child))
        return
    code = 1
    try:
        say("child", function())
        code = 0
    except BaseException as error:
        say("child", repr(error))
    finally:
        os._exit(code)
"""

_programs = Programs(PRELUDE)
run, lines_of = _programs.run, _programs.lines_of


# Forks.


FORKS = {
    "before any use": "fork(everything)",
    "after use": "everything(); fork(everything)",
    "after use of both loops and threads": """
        loop = LoopThread(); set_default_loop(loop)
        async_to_sync(both)(0)
        fork(everything)
        say(everything())
        """,
    "in a sync call below a kept loop": """
        async def main():
            await sync_to_async(fork)(everything)
            return await both("went on")
        say(async_to_sync(main)())
        """,
    "in a sync call below a kept loop that has moved": """
        async def main():
            loop, moved = asyncio.get_running_loop(), threading.Event()
            def moves():
                loop.call_soon_threadsafe(moved.set)
                assert moved.wait(30)
                fork(everything)
            await sync_to_async(moves)()
            return await both("went on")
        say(async_to_sync(main)())
        """,
    "in a sync call on the shared thread": """
        async def main():
            await sync_to_async(fork)(everything)
            return await both("went on")
        say(asyncio.run(main()))
        """,
    "in a sync call on any thread": """
        async def main():
            await sync_to_async(fork, thread_sensitive=False)(everything)
            return await both("went on")
        say(asyncio.run(main()))
        """,
    "in a sync call within a sensitive context": """
        async def main():
            async with ThreadSensitiveContext():
                await sync_to_async(fork)(everything)
                return await both("went on")
        say(asyncio.run(main()))
        """,
    "in a sync call below a loop thread": """
        loop = LoopThread()
        async def main():
            await sync_to_async(fork)(everything)
            return await both("went on")
        say(async_to_sync(main, loop=loop)())
        """,
    "in a sync call below a new loop": """
        async def main():
            await sync_to_async(fork)(everything)
            return await both("went on")
        say(async_to_sync(main, force_new_loop=True)())
        """,
    "within a single thread context": """
        with AsyncSingleThreadContext():
            async_to_sync(both)(0)
            fork(lambda: async_to_sync(both)("in the child"))
            say(async_to_sync(both)("went on"))
        """,
    "while another thread waits for async code": """
        entered, leave = threading.Event(), threading.Event()
        async def waits():
            entered.set()
            await sync_to_async(leave.wait, thread_sensitive=False)()
        thread = threading.Thread(target=async_to_sync(waits))
        thread.start(); entered.wait()
        fork(everything)
        leave.set(); thread.join()
        say(everything())
        """,
    "while another thread runs a sensitive call": """
        entered, leave = threading.Event(), threading.Event()
        def sync():
            entered.set()
            leave.wait()
        thread = threading.Thread(target=asyncio.run, args=(sync_to_async(sync)(),))
        thread.start(); entered.wait()
        fork(everything)
        leave.set(); thread.join()
        say(everything())
        """,
    "on a thread that is not the main one": """
        async_to_sync(both)(0)
        thread = threading.Thread(target=lambda: (everything(), fork(everything)))
        thread.start(); thread.join()
        say(everything())
        """,
    "in a child of a child": """
        everything()
        def again():
            say(everything())
            fork(everything)
            return everything()
        fork(again)
        """,
}


@pytest.mark.parametrize("program", FORKS.values(), ids=FORKS)
def test_a_child_has_working_bridges(program: str) -> None:
    """And so does its parent afterwards."""
    lines = lines_of(program)
    assert "parent True" in lines
    assert [line for line in lines if "child" in line and "works" not in line] in (
        [],
        ["child in the child"],
    ), lines
    assert [line for line in lines if line == "parent False"] == []


@pytest.mark.parametrize(
    "leave",
    [
        pytest.param("return 'left'", id="returning"),
        pytest.param("sys.exit(0)", id="exiting"),
        pytest.param("os._exit(0)", id="exiting at once"),
    ],
)
@pytest.mark.parametrize(
    "call",
    [
        pytest.param("async_to_sync(main)()", id="kept loop"),
        pytest.param("async_to_sync(main, force_new_loop=True)()", id="new loop"),
        pytest.param("async_to_sync(main, loop=LoopThread())()", id="loop thread"),
        pytest.param("asyncio.run(main())", id="shared thread"),
        pytest.param("asyncio.run(main(thread_sensitive=False))", id="any thread"),
        pytest.param("asyncio.run(in_a_context())", id="sensitive context"),
    ],
)
def test_a_child_that_leaves_the_sync_call_it_was_forked_in_ends(call: str, leave: str) -> None:
    """Whether the thread that forked was the main one, or a worker, or waits for the loop of the parent."""
    program = f"""
        parent = os.getpid()
        children = []
        def forks():
            child = os.fork()
            if child:
                children.append(child)
                return "parent"
            {leave}
        async def main(**options):
            return await sync_to_async(forks, **options)()
        async def in_a_context():
            async with ThreadSensitiveContext():
                return await main()
        try:
            result = {call}
        except LoopStopped:
            if os.getpid() == parent:
                raise
            sys.exit(0)
        if os.getpid() == parent:
            os.waitpid(children[0], 0)
            say(result)
            say(everything())
        """
    done = run(program)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "everything works" in done.stdout


@pytest.mark.parametrize("moved", [True, False], ids=["loop that has moved", "loop that has stayed"])
@pytest.mark.parametrize("options", ["", ", force_new_loop=True"], ids=["kept loop", "new loop"])
def test_a_child_that_returns_to_the_loop_of_its_parent_is_told_so(options: str, moved: bool) -> None:
    """It is the parent's, wherever it ran: both would hear what is meant for one of them."""
    program = f"""
        parent = os.getpid()
        moved, children = threading.Event(), []
        from asgiadapt._threads import kept_loop
        class Nobody:
            def submit(self, job):
                pass
        helpers, kept_loop.leases = kept_loop.leases, kept_loop.leases if {moved} else Nobody()
        def forks(loop):
            if {moved}:
                loop.call_soon_threadsafe(moved.set)
                assert moved.wait(30)
            children.append(os.fork())
        async def main():
            await sync_to_async(forks)(asyncio.get_running_loop())
            if os.getpid() != parent:
                os._exit(3)
            for number in range(200):
                assert await both(number) == number
        try:
            async_to_sync(main{options})()
        except LoopStopped as error:
            say(os.getpid() != parent, error)
            kept_loop.leases = helpers
            say(everything())
            os._exit(0)
        say("parent", ended_well(children[0]))
        """
    lines = lines_of(program)
    told = next(line for line in lines if line.startswith("True "))
    assert "stayed behind in the parent process" in told
    assert sorted(lines) == sorted([told, "everything works", "parent True"])


def test_a_loop_thread_from_before_the_fork_has_a_loop_of_its_own_in_the_child() -> None:
    """The parent's goes on, with its tasks."""
    program = """
        async def where():
            return id(asyncio.get_running_loop()), os.getpid()
        loop = LoopThread()
        before = async_to_sync(where, loop=loop)()
        def in_child():
            after = async_to_sync(where, loop=loop)()
            assert after != before and after == async_to_sync(where, loop=loop)()
            assert loop.close()
            return "another loop"
        fork(in_child)
        assert async_to_sync(where, loop=loop)() == before
        assert loop.close()
        """
    assert lines_of(program) == ["child another loop", "parent True"]


def test_a_loop_thread_that_was_closed_stays_closed_in_the_child() -> None:
    """A fork does not open it."""
    program = """
        loop = LoopThread()
        async_to_sync(echo, loop=loop)(0)
        loop.close()
        def in_child():
            try:
                async_to_sync(echo, loop=loop)(0)
            except LoopStopped as error:
                return error
        fork(in_child)
        """
    assert lines_of(program) == [
        "child the LoopThread is closed and runs nothing any more; make a new one.",
        "parent True",
    ]


def test_a_fork_while_a_loop_thread_is_starting_leaves_a_usable_one() -> None:
    """The lock that the other thread holds at that moment is the parent's."""
    program = """
        loop = LoopThread()
        loop._mutex.acquire()
        def in_child():
            return async_to_sync(echo, loop=loop)("works")
        fork(in_child)
        loop._mutex.release()
        """
    assert lines_of(program) == ["child works", "parent True"]


def test_what_the_parent_waits_for_is_undisturbed_by_the_end_of_a_child() -> None:
    """Loops of parent and child share sockets until the child has closed its copies."""
    program = """
        async def main():
            def forks():
                child = os.fork()
                if child == 0:
                    everything()
                    sys.stdout.flush()
                    os._exit(0)
                assert ended_well(child)
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            for _ in range(3):
                await sync_to_async(forks)()
                writer.write(b"ping\\n")
                say((await reader.readline()).decode().strip())
            writer.close()
            await writer.wait_closed()
        async def answer(reader, writer):
            while line := await reader.readline():
                writer.write(line)
            writer.close()
            await writer.wait_closed()
        async def serve():
            return await asyncio.start_server(answer, "127.0.0.1", 0)
        loop = LoopThread()
        server = async_to_sync(serve, loop=loop)()
        async_to_sync(main)()
        async def stop():
            server.close()
            await server.wait_closed()
        async_to_sync(stop, loop=loop)()
        """
    assert lines_of(program) == ["ping"] * 3


MODULE = """
import os
from asgiadapt import LoopThread, async_to_sync, sync_to_async

async def inner(value):
    return await sync_to_async(str.upper)(value), os.getpid()

def work(value):
    return async_to_sync(inner)(value)
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("used", [True, False], ids=["after use", "before use"])
def test_processes_of_multiprocessing_have_working_bridges(tmp_path: Path, method: str, used: bool) -> None:
    """However they are started; the module's name stands for the same in each."""
    (tmp_path / "work.py").write_text(MODULE)
    program = f"""
        import multiprocessing
        sys.path.insert(0, {str(tmp_path)!r})
        os.environ["PYTHONPATH"] += os.pathsep + {str(tmp_path)!r}
        from work import work
        if {used}:
            everything()
        with multiprocessing.get_context({method!r}).Pool(2) as pool:
            results = pool.map(work, ["a", "b", "c"])
            say(*(value for value, _ in results))
            assert os.getpid() not in {{process for _, process in results}}
            pool.close()
            pool.join()
        say(everything())
        """
    assert lines_of(program) == ["A B C", "everything works"]


# The end of the interpreter.

STATES = {
    "a sync call runs": "await sync_to_async(entered_and_waits{options})()",
    "sync calls wait": (
        "await asyncio.gather(*(sync_to_async(entered_and_waits{options})() for _ in range(50)))"
    ),
    "async code below a sync call waits": (
        "await sync_to_async(async_to_sync(entered_and_awaits){options})()"
    ),
    "sync code below async code below a sync call runs": (
        "await sync_to_async(async_to_sync(entered_and_calls){options})()"
    ),
    "an iterator in a thread waits": "[item async for item in sync_to_async(entered_and_yields{options})()]",
}


@pytest.mark.parametrize("options", ["", ", thread_sensitive=False"], ids=["sensitive", "anywhere"])
@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
@pytest.mark.parametrize(
    "above",
    [
        pytest.param("async_to_sync(main)()", id="kept loop"),
        pytest.param("async_to_sync(main, force_new_loop=True)()", id="new loop"),
        pytest.param("async_to_sync(main, loop=LoopThread())()", id="loop thread"),
        pytest.param("asyncio.run(main())", id="asyncio"),
    ],
)
def test_the_interpreter_ends_whatever_daemon_threads_wait_for(above: str, state: str, options: str) -> None:
    """Calls on their way, in both bridges, hold up nothing."""
    program = f"""
        loop_thread._EXIT_SECONDS = 0.2  # that the exit waits for a loop; enough for those that end
        entered = threading.Event()
        def entered_and_waits():
            entered.set()
            threading.Event().wait()
        async def entered_and_awaits():
            entered.set()
            await asyncio.Event().wait()
        async def entered_and_calls():
            await sync_to_async(entered_and_waits{options})()
        def entered_and_yields():
            yield 1
            entered_and_waits()
        async def main():
            {state.format(options=options)}
        threading.Thread(target=lambda: {above}, daemon=True).start()
        assert entered.wait(30)
        say("leaves")
        """
    done = run(program)
    assert done.stdout == "leaves\n", done.stderr
    assert done.returncode == 0, done.stderr
    assert "Fatal" not in done.stderr, done.stderr


AT_EXIT = {
    "async to sync": "async_to_sync(echo)('async to sync')",
    "both": "async_to_sync(both)('both')",
    "everything": "everything()",
    "both, on a loop thread": "async_to_sync(both, loop=loop)('on a loop thread')",
    "sync to async": "asyncio.run(both('sync to async'))",
}


@pytest.mark.parametrize("used", [True, False], ids=["used before", "not used before"])
@pytest.mark.parametrize("early", [True, False], ids=["registered first", "registered last"])
@pytest.mark.parametrize("call", AT_EXIT)
def test_the_bridges_work_at_exit(call: str, used: bool, early: bool) -> None:
    """In a function that was registered with `atexit`, before asgiadapt was imported or after."""
    program = f"""
        loop = LoopThread()
        def at_exit():
            if not has_threads():
                say(async_to_sync(echo)("no threads"))  # which needs none
                return
            try:
                say({AT_EXIT[call]})
            except LoopStopped as error:
                say(error)
        if not {early}:
            atexit.register(at_exit)
        if {used}:
            everything(), async_to_sync(both, loop=loop)(0)
        """
    expected = {call, "everything works", "on a loop thread", "no threads"}
    if early:
        # Those registered first are called last: when asgiadapt has closed what it had.
        done = run(program, first="import atexit\natexit.register(lambda: at_exit())\n")
        assert (done.returncode, done.stderr) == (0, "")
        if call == "both, on a loop thread":
            expected = {
                "the LoopThread is closed and runs nothing any more; make a new one.",
                "no threads",
            }
        assert done.stdout.strip() in expected
    else:
        assert lines_of(program)[-1] in expected


def test_calls_of_non_daemon_threads_end_before_the_interpreter() -> None:
    """It waits for those threads, and the bridges work for them until then."""
    program = """
        main_is_over = threading.Event()
        def work():
            threading.main_thread().join()
            say(everything())
        threading.Thread(target=work).start()
        say("main is over")
        """
    assert lines_of(program) == ["main is over", "everything works"]


def test_the_exit_of_the_main_thread_during_a_call_ends_the_process() -> None:
    """SystemExit out of async code, and out of sync code below it."""
    for exits in ("sys.exit(7)", "await sync_to_async(sys.exit)(7)"):
        done = run(f"""
            async def main():
                try:
                    {exits}
                finally:
                    say("cleaned up")
            async_to_sync(main)()
            """)
        assert done.returncode == 7, done.stderr
        assert done.stdout == "cleaned up\n"
        assert done.stderr == ""


# Ctrl-C.

INTERRUPT = "os.kill(os.getpid(), signal.SIGINT)"

# Where the main thread is when the signal comes; `waits` is what it waits for in the end.
PLACES = {
    "kept loop": "async_to_sync(waits)()",
    "kept loop that has moved": """
async def moves():
    loop, moved = asyncio.get_running_loop(), threading.Event()
    def until_moved():
        loop.call_soon_threadsafe(moved.set)
        assert moved.wait(30)
    await sync_to_async(until_moved)()
    await waits()
async_to_sync(moves)()
""",
    "nested": """
async def outer():
    await sync_to_async(async_to_sync(waits))()
async_to_sync(outer)()
""",
    "nested twice": """
async def outer():
    await sync_to_async(async_to_sync(inner))()
async def inner():
    await sync_to_async(async_to_sync(waits))()
async_to_sync(outer)()
""",
    "nested on another thread": """
async def outer():
    await sync_to_async(async_to_sync(waits), thread_sensitive=False)()
async_to_sync(outer)()
""",
    "nested with a new loop": """
async def outer():
    await sync_to_async(async_to_sync(waits, force_new_loop=True))()
async_to_sync(outer)()
""",
    "new loop": "async_to_sync(waits, force_new_loop=True)()",
    "loop thread": "async_to_sync(waits, loop=LoopThread())()",
    "nested below a loop thread": """
async def outer():
    await sync_to_async(async_to_sync(waits))()
async_to_sync(outer, loop=LoopThread())()
""",
    "single thread context": """
with AsyncSingleThreadContext():
    async_to_sync(waits)()
""",
    "uvloop": "import uvloop; set_loop_factory(uvloop.new_event_loop); async_to_sync(waits)()",
}


def interrupted(waits: str, place: str) -> list[str]:
    program = textwrap.dedent(waits) + textwrap.dedent(
        """
        try:
            {place}
        except KeyboardInterrupt:
            say("interrupted")
        say(async_to_sync(echo)("next"))
        """
    ).format(place=textwrap.indent(place, " " * 4).strip())
    done = run(program)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == "", done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_ctrl_c_cancels_the_async_code_and_is_raised_after_it(place: str) -> None:
    """The code has cleaned up by then, and the next call works."""
    waits = f"""
        async def waits():
            asyncio.get_running_loop().call_later(0.01, lambda: {INTERRUPT})
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                say("cleaned up")
        """
    assert interrupted(waits, place) == ["cleaned up", "interrupted", "next"]


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_ctrl_c_twice_is_raised_at_once(place: str) -> None:
    """Although the code goes on and on cleaning up."""
    waits = f"""
        async def waits():
            asyncio.get_running_loop().call_later(0.01, lambda: {INTERRUPT})
            try:
                await asyncio.Event().wait()
            finally:
                say("cleans up")
                asyncio.get_running_loop().call_later(0.01, lambda: {INTERRUPT})
                await asyncio.Event().wait()
        """
    program = textwrap.dedent(waits) + textwrap.dedent(
        """
        try:
            {place}
        except KeyboardInterrupt:
            say("interrupted")
        """
    ).format(place=textwrap.indent(place, " " * 4).strip())
    done = run(program)
    assert done.stdout.splitlines() == ["cleans up", "interrupted"], done.stdout + done.stderr
    assert done.returncode == 0, done.stderr
    assert "Fatal" not in done.stderr, done.stderr


BELOW = {
    "kept loop": "async_to_sync(main)()",
    "new loop": "async_to_sync(main, force_new_loop=True)()",
    "loop thread": "async_to_sync(main, loop=LoopThread())()",
}


@pytest.mark.parametrize("place", BELOW.values(), ids=BELOW)
def test_ctrl_c_in_sync_code_below_is_raised_there(place: str) -> None:
    """As KeyboardInterrupt, at once: the sync code can handle it."""
    waits = f"""
        def sync():
            try:
                {INTERRUPT}
                threading.Event().wait()
            except KeyboardInterrupt:
                say("in the sync code")
                return "handled"
        async def main():
            say(await sync_to_async(sync)())
        """
    assert interrupted(waits, place) == ["in the sync code", "handled", "next"]


@pytest.mark.parametrize("place", BELOW.values(), ids=BELOW)
def test_ctrl_c_in_sync_code_below_goes_through_the_async_code(place: str) -> None:
    """From the sync call to the outermost caller; everybody cleans up."""
    waits = f"""
        def sync():
            try:
                {INTERRUPT}
                threading.Event().wait()
            finally:
                say("sync")
        async def main():
            try:
                await sync_to_async(sync)()
            finally:
                await asyncio.sleep(0)
                say("async")
        """
    assert interrupted(waits, place) == ["sync", "async", "interrupted", "next"]


@pytest.mark.parametrize("place", BELOW.values(), ids=BELOW)
def test_ctrl_c_while_sync_code_on_another_thread_runs_waits_for_it(place: str) -> None:
    """That thread cannot be interrupted, but it can ask."""
    waits = f"""
        def sync():
            say("runs")
            {INTERRUPT}
            while not cancelled():
                pass
            say("stops")
        async def main():
            await sync_to_async(sync, thread_sensitive=False)()
        """
    assert interrupted(waits, place) == ["runs", "stops", "interrupted", "next"]


@pytest.mark.parametrize("place", BELOW.values(), ids=BELOW)
def test_a_handler_of_somebody_else_is_called_and_stays(place: str) -> None:
    """Ctrl-C then is what the handler makes of it."""
    waits = f"""
        def handler(number, frame):
            say("handler")
        signal.signal(signal.SIGINT, handler)
        async def main():
            asyncio.get_running_loop().call_later(0.01, lambda: {INTERRUPT})
            await asyncio.sleep(0.05)
            say("went on")
        """
    program = textwrap.dedent(waits) + f"\n{place}\nsay(signal.getsignal(signal.SIGINT) is handler)\n"
    assert lines_of(program) == ["handler", "went on", "True"]


@pytest.mark.parametrize("place", BELOW.values(), ids=BELOW)
def test_an_error_of_a_signal_handler_is_raised_after_the_async_code(place: str) -> None:
    """As Ctrl-C is; servers stop their workers so."""
    waits = """
        class TimeIsUp(Exception):
            pass
        def handler(number, frame):
            raise TimeIsUp
        signal.signal(signal.SIGALRM, handler)
        async def main():
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            try:
                await asyncio.Event().wait()
            finally:
                say("cleaned up")
        """
    program = textwrap.dedent(waits) + (
        f"\ntry:\n    {place}\nexcept TimeIsUp:\n    say('time is up')\nsay(async_to_sync(echo)('next'))\n"
    )
    assert lines_of(program) == ["cleaned up", "time is up", "next"]


def test_ctrl_c_between_calls_is_the_usual_one() -> None:
    """Python's own handler is back after each call."""
    program = f"""
        everything()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        try:
            {INTERRUPT}
            threading.Event().wait()
        except KeyboardInterrupt:
            say("interrupted")
        """
    assert lines_of(program) == ["interrupted"]


def test_ctrl_c_on_the_main_thread_leaves_the_calls_of_others_alone() -> None:
    """Another thread waits for async code at the same time, and gets its result."""
    program = f"""
        entered, go_on = threading.Event(), threading.Event()
        async def other():
            entered.set()
            await sync_to_async(go_on.wait, thread_sensitive=False)()
            return "other"
        thread = threading.Thread(target=lambda: say(async_to_sync(other)()))
        thread.start(); entered.wait()
        async def waits():
            {INTERRUPT}
            await asyncio.Event().wait()
        try:
            async_to_sync(waits)()
        except KeyboardInterrupt:
            say("interrupted")
        go_on.set(); thread.join()
        """
    assert lines_of(program) == ["interrupted", "other"]


def test_an_uncaught_ctrl_c_ends_the_process_as_usual() -> None:
    """By the signal, after the clean-up."""
    done = run(f"""
        async def waits():
            asyncio.get_running_loop().call_soon(lambda: {INTERRUPT})
            try:
                await asyncio.Event().wait()
            finally:
                say("cleaned up")
        async_to_sync(waits)()
        """)
    assert done.returncode == -signal.SIGINT, done.stderr
    assert done.stdout == "cleaned up\n"
    assert done.stderr.rstrip().endswith("KeyboardInterrupt")


def test_threads_of_asyncio_work_on_a_loop_thread_while_the_interpreter_exits() -> None:
    """Where one is idle: no Python starts new ones then, and the pools of the standard library are closed."""
    program = """
        loop = LoopThread()
        async def in_thread():
            return await asyncio.to_thread(echo_sync, "in a thread")
        def late():
            say(async_to_sync(in_thread, loop=loop)())
        atexit.register(late)
        say(async_to_sync(in_thread, loop=loop)())
        """
    assert lines_of(program) == ["in a thread", "in a thread"]


def test_threads_of_asyncio_are_real_on_a_loop_thread_below_gevent() -> None:
    """A process whose pool has greenlets of another thread would not come to its end."""
    program = """
        from gevent.monkey import get_original
        get_ident = get_original("threading", "get_ident")
        async def idents():
            return get_ident(), await asyncio.to_thread(get_ident)
        on_loop, in_thread = async_to_sync(idents, loop=LoopThread())()
        say(on_loop != in_thread)
        """
    done = run(program, first="from gevent import monkey; monkey.patch_all()\n")
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_the_handler_of_uwsgi_stays() -> None:
    """Python takes it for the default one."""
    program = """
        import _signal, types
        sys.modules["uwsgi"] = types.ModuleType("uwsgi")
        handlers = []
        _signal_signal, _signal.signal = _signal.signal, lambda *args: handlers.append(args)
        say(async_to_sync(echo)(1), handlers)
        """
    assert lines_of(program) == ["1 []"]
