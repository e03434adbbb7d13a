"""`AsgiToWsgi` and processes: forks, the end of the interpreter, Ctrl-C, hosts without threads.

Each in a program of its own, which must not hang.
"""

import signal
from pathlib import Path

import pytest

from tests.conformance.rules import rule
from tests.processes import Programs

# Processes by the dozen; on one Python, like the real servers.
pytestmark = pytest.mark.server

PRELUDE = """
import faulthandler; faulthandler.enable()
import asyncio, atexit, os, signal, sys, threading, warnings
from asgiadapt import LoopStopped, LoopThread, StartupFailed, async_to_sync
from tests.validated import AsgiToWsgi, WsgiToAsgi
from tests.asgi_apps import answers, body, says_hello, sends, start, streams, with_lifespan
from tests.gates import Gate
from tests.wsgi_fakes import Request, call, environ_for
warnings.simplefilter("ignore", DeprecationWarning)  # of os.fork() in a process with threads

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # whole lines, whoever else writes

def ignores(*args):
    pass

class App:
    '''Tells where its lifespan begins and ends; requests for /wait never end.'''
    def __init__(self):
        self.waiting = Gate()
        self.calls = 0
    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            assert (await receive())["type"] == "lifespan.startup"
            say("startup in", whose())
            scope["state"]["process"] = os.getpid()
            await send({"type": "lifespan.startup.complete"})
            assert (await receive())["type"] == "lifespan.shutdown"
            say("shutdown in", whose())
            await send({"type": "lifespan.shutdown.complete"})
            return
        assert scope["state"]["process"] == os.getpid()
        self.calls += 1
        if scope["path"] == "/wait":
            self.waiting.open()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                say("cancelled")
                raise
        await says_hello(scope, receive, send)
        if scope["path"] == "/background":
            await asyncio.sleep(0.01)
            say("background work done")

PARENT = os.getpid()

def whose():
    return "parent" if os.getpid() == PARENT else "child"

def hello(wsgi, path="/"):
    assert call(wsgi, PATH_INFO=path).body == b"hello"
    say("hello in", whose())

def fork(function):
    '''Run *function* in a child that ends as the main thread of a process does, and wait for it.'''
    child = os.fork()
    if child:
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert ended == 0, ended
        return
    function()
    sys.exit(0)
"""

_programs = Programs(PRELUDE)
run, lines_of = _programs.run, _programs.lines_of


OPTIONS = {
    "shared loop": "",
    "loop thread": ", loop=LoopThread()",
    "factory": ", loop_factory=asyncio.new_event_loop",
}
of_all_loops = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


# Forks


def test_building_and_importing_start_no_thread() -> None:
    """So a server may load its application, and fork then."""
    program = """
        before = threading.enumerate()
        AsgiToWsgi(App()); AsgiToWsgi(App(), loop_factory=asyncio.new_event_loop)
        assert threading.enumerate() == before
        """
    assert lines_of(program) == []


@of_all_loops
@rule("A2W-LIFE-08")
def test_an_adapter_that_was_built_before_the_fork_works_in_each_process(_rule: None, options: str) -> None:
    """As with a server that loads the application in its parent process."""
    program = f"""
        wsgi = AsgiToWsgi(App(){options})
        fork(lambda: hello(wsgi))
        fork(lambda: hello(wsgi))
        hello(wsgi)
        """
    child = ["startup in child", "hello in child", "shutdown in child"]
    assert lines_of(program) == [*child, *child, "startup in parent", "hello in parent", "shutdown in parent"]


@of_all_loops
@rule("A2W-LIFE-09")
def test_an_adapter_that_was_used_before_the_fork_works_in_the_child(_rule: None, options: str) -> None:
    """With a loop, a thread and a lifespan of the child's own; nothing of the parent's is ended there."""
    program = f"""
        wsgi = AsgiToWsgi(App(){options})
        hello(wsgi)
        fork(lambda: hello(wsgi))
        hello(wsgi)
        """
    assert lines_of(program) == [
        "startup in parent",
        "hello in parent",
        "startup in child",
        "hello in child",
        "shutdown in child",
        "hello in parent",
        "shutdown in parent",
    ]


@of_all_loops
def test_a_child_that_uses_nothing_shuts_nothing_down(options: str) -> None:
    """It ends at once, and the parent's application lives on."""
    program = f"""
        wsgi = AsgiToWsgi(App(){options})
        hello(wsgi)
        fork(lambda: None)
        hello(wsgi)
        """
    assert lines_of(program) == [
        "startup in parent",
        "hello in parent",
        "hello in parent",
        "shutdown in parent",
    ]


def test_a_child_may_close_the_adapter_for_itself() -> None:
    """The parent's goes on."""
    program = """
        wsgi = AsgiToWsgi(App())
        hello(wsgi)
        def child():
            assert wsgi.close()
            try:
                call(wsgi)
            except LoopStopped:
                say("closed in", whose())
        fork(child)
        hello(wsgi)
        """
    assert lines_of(program) == [
        "startup in parent",
        "hello in parent",
        "closed in child",
        "hello in parent",
        "shutdown in parent",
    ]


def test_an_adapter_that_was_closed_stays_closed_in_the_child() -> None:
    """A fork does not open it."""
    program = """
        wsgi = AsgiToWsgi(App())
        hello(wsgi)
        wsgi.close()
        def child():
            try:
                call(wsgi)
            except LoopStopped as error:
                say(error)
        fork(child)
        """
    assert (
        lines_of(program)[-1] == "the AsgiToWsgi is closed and serves no requests any more; make a new one."
    )


@rule("LIFESPAN-15")
def test_a_failed_startup_of_the_parent_is_tried_again_in_the_child(_rule: None) -> None:
    """Nothing carries over a fork."""
    program = """
        async def app(scope, receive, send):
            if scope["type"] == "lifespan" and os.getpid() == PARENT:
                await receive()
                await send({"type": "lifespan.startup.failed", "message": "in the parent"})
                return
            await with_lifespan()(scope, receive, send)
        import logging; logging.disable()
        wsgi = AsgiToWsgi(app)
        try:
            call(wsgi)
        except StartupFailed as error:
            say(error)
        fork(lambda: hello(wsgi))
        """
    assert lines_of(program) == [
        "the start-up of the ASGI application has failed: in the parent",
        "hello in child",
    ]


@of_all_loops
def test_a_fork_while_requests_run_leaves_a_usable_adapter(options: str) -> None:
    """Whatever the locks that other threads hold at that moment; their requests are the parent's."""
    program = f"""
        wsgi = AsgiToWsgi(App(){options}, shutdown_timeout=0.01)
        threads = [threading.Thread(target=lambda: [call(wsgi) for _ in range(100)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(5):
            fork(lambda: hello(wsgi))
        for thread in threads:
            thread.join()
        say("all served")
        """
    lines = lines_of(program)
    assert lines.count("hello in child") == 5
    assert lines.count("shutdown in child") == 5
    assert lines[-2:] == ["all served", "shutdown in parent"]


def test_a_fork_while_the_application_starts_up_leaves_a_usable_adapter() -> None:
    """The lock that the starting thread holds is the parent's."""
    program = """
        starting, may_start = Gate(), Gate()
        class Slow(App):
            async def __call__(self, scope, receive, send):
                if scope["type"] == "lifespan" and os.getpid() == PARENT:
                    starting.open()
                    await may_start.passed()
                await super().__call__(scope, receive, send)
        wsgi = AsgiToWsgi(Slow())
        thread = threading.Thread(target=hello, args=(wsgi,))
        thread.start()
        starting.wait()
        fork(lambda: hello(wsgi))
        may_start.open()
        thread.join()
        """
    assert lines_of(program) == [
        "startup in child",
        "hello in child",
        "shutdown in child",
        "startup in parent",
        "hello in parent",
        "shutdown in parent",
    ]


def test_a_fork_in_the_middle_of_a_response_leaves_it_to_the_parent() -> None:
    """The child drops it, and serves requests of its own."""
    program = """
        async def app(scope, receive, send):
            await streams(b"a", b"b", b"c")(scope, receive, send)
        wsgi = AsgiToWsgi(app, window=0)
        result = wsgi(environ_for(), ignores)
        say(next(result))
        def child():
            global result
            result.close()
            del result
            say(call(wsgi).chunks)
        fork(child)
        say(list(result))
        result.close()
        """
    assert lines_of(program) == ["b'a'", "[b'a', b'b', b'c']", "[b'b', b'c']"]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_of_multiprocessing_serve_requests(method: str, tmp_path: Path) -> None:
    """However they are started."""
    module = """
import os
from tests.validated import AsgiToWsgi
from tests.asgi_apps import with_lifespan
from tests.wsgi_fakes import call

wsgi = AsgiToWsgi(with_lifespan())

def work(number):
    assert call(wsgi).body == b"hello"
    return os.getpid()
"""
    (tmp_path / "work.py").write_text(module)
    program = f"""
        import multiprocessing
        sys.path.insert(0, {str(tmp_path)!r})
        os.environ["PYTHONPATH"] += os.pathsep + {str(tmp_path)!r}
        from work import work
        work(0)
        with multiprocessing.get_context({method!r}).Pool(2) as pool:
            assert os.getpid() not in pool.map(work, range(4))
            pool.close()
            pool.join()
        say("all served", work(0) == os.getpid())
        """
    assert lines_of(program) == ["all served True"]


# The end of the interpreter


@of_all_loops
@rule("A2W-LIFE-15")
def test_the_end_of_the_interpreter_shuts_the_application_down(_rule: None, options: str) -> None:
    """Without close(), once."""
    program = f"""
        wsgi = AsgiToWsgi(App(){options})
        hello(wsgi)
        say("leaves")
        """
    assert lines_of(program) == ["startup in parent", "hello in parent", "leaves", "shutdown in parent"]


@of_all_loops
def test_the_end_of_the_interpreter_waits_for_background_work(options: str) -> None:
    """As long as it is allowed to take."""
    program = f"""
        wsgi = AsgiToWsgi(App(){options})
        hello(wsgi, "/background")
        say("leaves")
        """
    assert lines_of(program) == [
        "startup in parent",
        "hello in parent",
        "leaves",
        "background work done",
        "shutdown in parent",
    ]


@of_all_loops
def test_the_end_of_the_interpreter_cancels_what_does_not_end(options: str) -> None:
    """A daemon thread whose request waits holds up nothing."""
    program = f"""
        app = App()
        wsgi = AsgiToWsgi(app{options}, shutdown_timeout=0.05)
        def client():
            try:
                call(wsgi, PATH_INFO="/wait")
            except LoopStopped:
                pass
        threading.Thread(target=client, daemon=True).start()
        app.waiting.wait()
        say("leaves")
        """
    done = run(program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["startup in parent", "leaves", "cancelled", "shutdown in parent"]
    assert done.stderr == "1 requests are cancelled, since they have not ended in time\n"


def test_the_end_of_the_interpreter_does_not_wait_for_a_server_that_takes_nothing() -> None:
    """Its application waits in send(), and nobody will ever take the chunk."""
    program = """
        async def app(scope, receive, send):
            await send(start())
            try:
                while True:
                    await send(body(b"x" * 65536, more=True))
            finally:
                say("ended")
        wsgi = AsgiToWsgi(app, shutdown_timeout=0.05, lifespan="off")
        result = wsgi(environ_for(), ignores)
        next(result)
        say("leaves")
        """
    done = run(program)
    assert (done.returncode, done.stdout) == (0, "leaves\nended\n"), done.stderr
    assert "Traceback" not in done.stderr


def test_the_end_of_the_interpreter_does_not_wait_for_a_startup() -> None:
    """A daemon thread is still in it, and it may take for ever."""
    program = """
        starting = Gate()
        async def app(scope, receive, send):
            starting.open()
            await asyncio.Event().wait()
        wsgi = AsgiToWsgi(app, startup_timeout=None, shutdown_timeout=0.05)
        def client():
            try:
                call(wsgi)
            except (LoopStopped, StartupFailed):
                pass
        threading.Thread(target=client, daemon=True).start()
        starting.wait()
        say("leaves")
        """
    done = run(program)
    assert (done.returncode, done.stdout) == (0, "leaves\n"), done.stderr


def test_the_end_of_the_interpreter_does_not_wait_for_a_loop_that_is_blocked() -> None:
    """By an application that calls what it should not."""
    program = """
        from asgiadapt._threads import loop_thread
        loop_thread._EXIT_SECONDS = 0.2
        blocked = Gate()
        async def app(scope, receive, send):
            blocked.open()
            threading.Event().wait()
        wsgi = AsgiToWsgi(app, shutdown_timeout=0.05, lifespan="off")
        threading.Thread(target=call, args=(wsgi,), daemon=True).start()
        blocked.wait()
        say("leaves")
        """
    done = run(program)
    assert (done.returncode, done.stdout) == (0, "leaves\n"), done.stderr


def test_an_application_that_hangs_in_its_shutdown_does_not_keep_the_process_alive() -> None:
    """It has its time."""
    program = """
        import logging; logging.disable()
        async def app(scope, receive, send):
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            say("hangs")
            await asyncio.Event().wait()
        wsgi = AsgiToWsgi(app, shutdown_timeout=0.05)
        wsgi.start()
        """
    assert lines_of(program) == ["hangs"]


def test_the_code_of_exit_is_kept() -> None:
    """The shutdown runs all the same."""
    done = run("""
        wsgi = AsgiToWsgi(App())
        hello(wsgi)
        sys.exit(7)
        """)
    assert done.returncode == 7, done.stderr
    assert done.stdout.splitlines()[-1] == "shutdown in parent"


@pytest.mark.parametrize("early", [True, False], ids=["registered first", "registered last"])
def test_requests_of_functions_at_exit(early: bool) -> None:
    """Those registered after asgiadapt run before its own; the others are told that it is over."""
    program = """
        def at_exit():
            try:
                hello(wsgi)
            except LoopStopped:
                say("closed")
        wsgi = AsgiToWsgi(App())
        hello(wsgi)
        if "at_exit_first" not in globals():
            atexit.register(at_exit)
        """
    first = "import atexit\nat_exit_first = atexit.register(lambda: at_exit())\n" if early else ""
    expected = ["shutdown in parent", "closed"] if early else ["hello in parent", "shutdown in parent"]
    assert lines_of(program, first=first)[2:] == expected


def test_an_adapter_that_was_never_used_costs_nothing_at_exit() -> None:
    """No loop is started for its end."""
    program = """
        wsgi = AsgiToWsgi(App())
        other = AsgiToWsgi(App(), loop_factory=asyncio.new_event_loop)
        """
    assert lines_of(program) == []


def test_adapters_in_each_other_end_with_the_interpreter() -> None:
    """Whichever is closed first."""
    program = """
        inner = AsgiToWsgi(App())
        async def app(scope, receive, send):
            if scope["type"] == "http":
                await WsgiToAsgi(inner)(scope, receive, send)
        outer = AsgiToWsgi(app)
        hello(outer)
        """
    assert lines_of(program) == ["startup in parent", "hello in parent", "shutdown in parent"]


# Signals


@of_all_loops
@rule("A2W-LIFE-13")
def test_ctrl_c_interrupts_a_request_that_waits(_rule: None, options: str) -> None:
    """The application hears of it, and later requests are served."""
    program = f"""
        left = Gate()
        async def app(scope, receive, send):
            if scope["path"] == "/":
                await says_hello(scope, receive, send)
                return
            await receive()
            os.kill(os.getpid(), signal.SIGINT)
            say((await receive())["type"])
            left.open()
        wsgi = AsgiToWsgi(app{options}, lifespan="off", disconnect_grace=20)
        try:
            call(wsgi, PATH_INFO="/wait")
        except KeyboardInterrupt:
            say("interrupted")
        left.wait()
        hello(wsgi)
        """
    assert sorted(lines_of(program)) == ["hello in parent", "http.disconnect", "interrupted"]


@of_all_loops
def test_ctrl_c_interrupts_the_wait_for_a_chunk(options: str) -> None:
    """The server then closes the response, as it would otherwise."""
    program = f"""
        taken = Gate()
        async def app(scope, receive, send):
            await send(start())
            await send(body(b"x", more=True))
            await receive()
            await taken.passed()
            os.kill(os.getpid(), signal.SIGINT)
            say((await receive())["type"])
        wsgi = AsgiToWsgi(app{options}, lifespan="off", disconnect_grace=20)
        result = wsgi(environ_for(), ignores)
        try:
            for chunk in result:
                say(chunk)
                taken.open()
        except KeyboardInterrupt:
            say("interrupted")
        finally:
            result.close()
        """
    assert lines_of(program) == ["b'x'", "interrupted", "http.disconnect"]


def test_ctrl_c_during_the_startup_leaves_it_to_the_next_request() -> None:
    """The application starts up once; only who has waited for it is interrupted."""
    program = """
        may_start = Gate()
        class Slow(App):
            async def __call__(self, scope, receive, send):
                if scope["type"] == "lifespan":
                    os.kill(os.getpid(), signal.SIGINT)
                    await may_start.passed()
                await super().__call__(scope, receive, send)
        wsgi = AsgiToWsgi(Slow(), startup_timeout=None)
        try:
            call(wsgi)
        except KeyboardInterrupt:
            say("interrupted")
        may_start.open()
        hello(wsgi)
        """
    assert lines_of(program) == [
        "interrupted",
        "startup in parent",
        "hello in parent",
        "shutdown in parent",
    ]


def test_ctrl_c_ends_a_process_whose_requests_wait() -> None:
    """Nobody catches it; the application is cancelled, and shut down."""
    program = """
        class Interrupted(App):
            async def __call__(self, scope, receive, send):
                if scope["type"] == "http":
                    os.kill(os.getpid(), signal.SIGINT)
                await super().__call__(scope, receive, send)
        app = Interrupted()
        wsgi = AsgiToWsgi(app, disconnect_grace=0.05, shutdown_timeout=5)
        call(wsgi, PATH_INFO="/wait")
        """
    done = run(program)
    assert done.returncode == -signal.SIGINT, done.stderr
    assert done.stdout.splitlines() == ["startup in parent", "cancelled", "shutdown in parent"]
    assert "KeyboardInterrupt" in done.stderr


def test_a_handler_of_a_signal_may_use_the_adapter_while_its_thread_waits() -> None:
    """The loop is free, and so are all locks."""
    program = """
        may_end = []
        async def app(scope, receive, send):
            if scope["path"] == "/wait":
                event = asyncio.Event()
                may_end.append(event)
                os.kill(os.getpid(), signal.SIGUSR1)
                await event.wait()
            else:
                may_end[0].set()
            await says_hello(scope, receive, send)
        def handler(*args):
            say("in the handler")
            hello(wsgi)
        signal.signal(signal.SIGUSR1, handler)
        wsgi = AsgiToWsgi(app, lifespan="off")
        hello(wsgi, "/wait")
        """
    assert lines_of(program) == ["in the handler", "hello in parent", "hello in parent"]


# Hosts without threads


def test_a_host_that_starts_no_threads_is_told_what_is_wrong() -> None:
    """Where threads are started and never run, the error names the cause; a later request may be luckier."""
    program = """
        from asgiadapt._threads import loop_thread
        loop_thread._START_SECONDS = 0.05
        starts = loop_thread.start_thread
        loop_thread.start_thread = lambda function, name: None
        wsgi = AsgiToWsgi(App())
        for _ in range(2):
            try:
                call(wsgi)
            except RuntimeError as error:
                say(error)
        loop_thread.start_thread = starts
        hello(wsgi)
        """
    lines = lines_of(program)
    for line in lines[:2]:
        assert "has not begun to run within 0.05 seconds" in line
        assert "the host may have threads disabled (uWSGI needs --enable-threads)" in line
    assert lines[2:] == ["startup in parent", "hello in parent", "shutdown in parent"]


def test_a_host_that_refuses_threads_is_told_so() -> None:
    """The error of Python's own leaves the call."""
    program = """
        from asgiadapt._threads import loop_thread
        def refuses(function, name):
            raise RuntimeError("can't start new thread")
        starts, loop_thread.start_thread = loop_thread.start_thread, refuses
        wsgi = AsgiToWsgi(App())
        try:
            call(wsgi)
        except RuntimeError as error:
            say(error)
        loop_thread.start_thread = starts
        hello(wsgi)
        """
    assert lines_of(program) == [
        "can't start new thread",
        "startup in parent",
        "hello in parent",
        "shutdown in parent",
    ]


# Pythons in other modes


@pytest.mark.parametrize(
    "options",
    [["-X", "dev"], ["-O"], ["-W", "error", "-X", "tracemalloc"]],
    ids=["dev", "optimised", "warnings"],
)
def test_the_adapter_works_and_complains_of_nothing_in_other_modes_of_python(options: list[str]) -> None:
    """Asyncio's debug mode among them, and warnings that are errors."""
    program = """
        with AsgiToWsgi(App()) as wsgi:
            for path in ("/", "/background"):
                call(wsgi, PATH_INFO=path)
        other = AsgiToWsgi(App(), loop_factory=asyncio.new_event_loop)
        call(other)
        """
    lines = lines_of(program, *options)
    assert lines.count("startup in parent") == lines.count("shutdown in parent") == 2
    assert "background work done" in lines
