"""Calls on executors: threads, pools, other processes, a cluster, and those that somebody wrote."""

import asyncio
import concurrent.futures
import functools
import io
import operator
import os
import pickle
import pickletools
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from contextvars import ContextVar
from multiprocessing import get_context
from typing import Any

import pytest
import trio

from asgiadapt import PoolClosed, PoolFull, WorkerPool, async_to_sync, cancelled, sync_to_async

# Other processes are started by fork too, which Python warns of where there are threads.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

flavour: ContextVar[str] = ContextVar("flavour", default="none")
here = threading.get_ident
Caller = Callable[..., Any]


def on(executor: Any, **options: Any) -> Caller:
    """`sync_to_async` for calls that run on *executor*."""
    return functools.partial(sync_to_async, thread_sensitive=False, executor=executor, **options)


# In threads of this process.


@pytest.fixture(params=["threads", "worker pool"])
def executor(request: pytest.FixtureRequest) -> Iterator[Any]:
    """One thread."""
    with ThreadPoolExecutor(1) if request.param == "threads" else WorkerPool(1) as pool:
        yield pool


async def test_a_call_runs_on_the_thread_of_its_executor(executor: Any) -> None:
    """Each time; the loop's thread is another."""
    threads = {await on(executor)(here)() for _ in range(3)}
    assert len(threads) == 1
    assert here() not in threads


async def test_context_variables_are_carried_there_and_back(executor: Any) -> None:
    """As with every thread."""

    def changes() -> str:
        before = flavour.get()
        flavour.set("salt")
        return before

    flavour.set("sugar")
    assert await on(executor)(changes)() == "sugar"
    assert flavour.get() == "salt"


async def test_the_hook_is_entered_on_the_thread_of_the_executor(executor: Any) -> None:
    """Around each call, within its context."""
    steps: list[Any] = []

    @contextmanager
    def hook() -> Iterator[None]:
        steps.append(("enter", here(), flavour.get()))
        yield
        steps.append(("leave", here(), flavour.get()))

    flavour.set("sugar")
    thread = await on(executor, hook=hook)(here)()
    assert steps == [("enter", thread, "sugar"), ("leave", thread, "sugar")]


async def test_an_error_of_the_hook_comes_out_of_the_call(executor: Any) -> None:
    """Instead of a result."""

    @contextmanager
    def hook() -> Iterator[None]:
        raise ValueError("of the hook")
        yield

    with pytest.raises(ValueError, match="of the hook"):
        await on(executor, hook=hook)(int)()


async def test_async_code_called_on_an_executor_runs_on_the_loop_above(executor: Any) -> None:
    """The way back is known there."""

    async def current_loop() -> Any:
        return asyncio.get_running_loop()

    assert await on(executor)(async_to_sync(current_loop))() is asyncio.get_running_loop()


async def test_a_call_that_runs_on_an_executor_is_told_that_it_was_cancelled(executor: Any) -> None:
    """Its caller waits for it."""
    entered = threading.Event()
    answers: list[bool] = []

    def asks() -> None:
        answers.append(cancelled())
        entered.set()
        while not cancelled():
            pass
        answers.append(cancelled())

    task = asyncio.create_task(on(executor)(asks)())
    await asyncio.to_thread(entered.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert answers == [False, True]


async def test_a_call_that_waits_for_its_executor_can_be_withdrawn(executor: Any) -> None:
    """It never runs, and its caller does not wait."""
    leave = threading.Event()
    ran: list[str] = []
    busy = asyncio.create_task(on(executor)(leave.wait)(30))
    waits = asyncio.create_task(on(executor)(ran.append)("withdrawn"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waits.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waits
    assert not busy.done()
    leave.set()
    assert await busy
    assert await on(executor)(str)("next") == "next"
    assert ran == []


async def test_a_call_on_an_executor_can_be_abandoned(
    executor: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller goes on at once; an error of the thread is logged."""
    entered, leave, left = threading.Event(), threading.Event(), threading.Event()

    def fails() -> None:
        entered.set()
        assert leave.wait(30)
        raise ValueError("of the abandoned call")

    task = asyncio.create_task(on(executor, abandon_on_cancel=True)(fails)())
    await asyncio.to_thread(entered.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    leave.set()
    await on(executor)(left.set)()
    assert "a call failed after its caller had abandoned it" in caplog.text
    assert "of the abandoned call" in caplog.text


async def test_generators_and_context_managers_run_on_the_executor(executor: Any) -> None:
    """Each of their steps."""

    def counts() -> Iterator[int]:
        for _ in range(3):
            yield here()

    @contextmanager
    def manages() -> Iterator[int]:
        yield here()

    thread = await on(executor)(here)()
    assert [item async for item in on(executor)(counts)()] == [thread] * 3
    async with on(executor)(manages)() as entered:
        assert entered == thread


def test_an_executor_serves_trio(executor: Any) -> None:
    """As it serves asyncio."""

    async def main() -> tuple[int, int]:
        return await on(executor)(here)(), await on(executor)(int)("7")

    thread, number = trio.run(main)
    assert thread != here()
    assert number == 7


async def test_a_full_worker_pool_refuses_the_call() -> None:
    """It says so; the calls before it are unharmed."""
    leave = threading.Event()
    with WorkerPool(1, max_waiting=1) as pool:
        running = [asyncio.create_task(on(pool)(leave.wait)(30)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(PoolFull, match="try again later"):
            await on(pool)(int)()
        leave.set()
        assert await asyncio.gather(*running) == [True, True]
        assert await on(pool)(int)("1") == 1


async def test_a_worker_pool_that_is_closed_drops_the_call() -> None:
    """Whether it waits already, or comes later."""
    leave = threading.Event()
    pool = WorkerPool(1)
    running = asyncio.create_task(on(pool)(leave.wait)(30))
    waiting = asyncio.create_task(on(pool)(int)())
    await asyncio.sleep(0)
    pool.close()
    with pytest.raises(PoolClosed, match="was closed before the call began"):
        await waiting
    with pytest.raises(PoolClosed, match="takes no more jobs"):
        await on(pool)(int)()
    leave.set()
    assert await running


# In other processes.


class Refused(Exception):
    """With arguments, so that pickle has something to do."""


class Counter:
    """Its methods are called in other processes."""

    def __init__(self, value: int) -> None:
        self.value = value

    def add(self, number: int, *, times: int = 1) -> int:
        return self.value + number * times

    @classmethod
    def of(cls, value: int) -> "Counter":
        return cls(value)

    @staticmethod
    def double(number: int) -> int:
        return 2 * number

    def __call__(self, number: int) -> int:
        return self.value * number


def adds(left: int, right: int = 1) -> int:
    return left + right


@sync_to_async
def decorated(left: int, right: int = 1) -> int:
    """On the sensitive thread, unless it is given to an executor by hand."""
    return left + right


def refuses(text: str) -> None:
    raise Refused(text, 7)


def exits() -> None:
    raise SystemExit(3)


def dies() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def asks() -> tuple[str, bool]:
    return flavour.get(), cancelled()


def calls_async() -> int:
    async def inner() -> int:
        await sync_to_async(int)()
        return os.getpid()

    return async_to_sync(inner)()


def meets(folder: str, name: str, other: str) -> str:
    """Come, and wait for the other; through files, since processes share nothing else."""
    open(os.path.join(folder, name), "w").close()
    deadline = time.monotonic() + 30
    while not os.path.exists(os.path.join(folder, other)):
        assert time.monotonic() < deadline
    return name


METHODS = ["fork", "spawn", "forkserver"]


@pytest.fixture(scope="module", params=METHODS)
def processes(request: pytest.FixtureRequest) -> Iterator[ProcessPoolExecutor]:
    """Two of them, for all calls of a test."""
    with ProcessPoolExecutor(2, mp_context=get_context(request.param)) as executor:
        assert executor.submit(adds, 1).result(50) == 2
        yield executor


CALLS: dict[str, tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], Any]] = {
    "a function": (adds, (1,), {"right": 2}, 3),
    "a builtin": (len, ("four",), {}, 4),
    "a class": (int, ("7",), {}, 7),
    "a function that was decorated": (decorated.__wrapped__, (1,), {"right": 2}, 3),  # type: ignore[attr-defined]
    "a partial": (functools.partial(adds, 1), (), {"right": 5}, 6),
    "a partial of a partial": (functools.partial(functools.partial(adds, 1), 2), (), {}, 3),
    "a bound method": (Counter(10).add, (1,), {"times": 3}, 13),
    "a class method": (Counter.of, (1,), {}, Counter),
    "a static method": (Counter.double, (4,), {}, 8),
    "an object that can be called": (Counter(3), (4,), {}, 12),
    "a method of a builtin": ("a-b".split, ("-",), {}, ["a", "b"]),
    "an operator": (operator.itemgetter(1), ([5, 6],), {}, 6),
}


@pytest.mark.parametrize(("function", "args", "kwargs", "result"), CALLS.values(), ids=CALLS)
async def test_every_kind_of_function_is_called_in_another_process(
    processes: ProcessPoolExecutor,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    result: Any,
) -> None:
    """If pickle can carry it."""
    outcome = await on(processes)(function)(*args, **kwargs)
    assert outcome == result if not isinstance(result, type) else isinstance(outcome, result)


async def test_a_call_runs_in_another_process(processes: ProcessPoolExecutor) -> None:
    """Calls run at the same time there."""
    assert await on(processes)(os.getpid)() != os.getpid()
    results = await asyncio.gather(*(on(processes)(adds)(number) for number in range(40)))
    assert results == list(range(1, 41))


async def test_calls_in_other_processes_run_at_the_same_time(
    processes: ProcessPoolExecutor, tmp_path: Any
) -> None:
    """Each waits for the other to have begun, and the loop goes on."""
    one = on(processes)(meets)(str(tmp_path), "one", "two")
    two = on(processes)(meets)(str(tmp_path), "two", "one")
    assert await asyncio.gather(one, two) == ["one", "two"]


async def test_errors_come_from_another_process(processes: ProcessPoolExecutor) -> None:
    """With their arguments, and with what happened there as their cause."""
    with pytest.raises(Refused) as caught:
        await on(processes)(refuses)("no")
    assert caught.value.args == ("no", 7)
    assert "in refuses" in str(caught.value.__cause__)


async def test_an_exit_in_another_process_comes_as_an_error(processes: ProcessPoolExecutor) -> None:
    """The process stays."""
    with pytest.raises(SystemExit) as caught:
        await on(processes)(exits)()
    assert caught.value.code == 3
    assert await on(processes)(adds)(1) == 2


async def test_context_variables_do_not_travel(processes: ProcessPoolExecutor) -> None:
    """Nor does the question whether the caller was cancelled."""
    flavour.set("sugar")
    assert await on(processes)(asks)() == ("none", False)
    assert flavour.get() == "sugar"


async def test_the_hook_does_not_travel(processes: ProcessPoolExecutor) -> None:
    """It belongs to this process."""

    @contextmanager
    def hook() -> Iterator[None]:
        pytest.fail("the hook was entered")
        yield

    assert await on(processes, hook=hook)(adds)(1) == 2


async def test_both_bridges_work_in_another_process(processes: ProcessPoolExecutor) -> None:
    """It is a process like any other."""
    assert await on(processes)(calls_async)() != os.getpid()


async def test_what_cannot_be_pickled_is_told(processes: ProcessPoolExecutor) -> None:
    """The error names it; the next call works."""
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        await on(processes)(lambda: None)()
    with pytest.raises(TypeError, match=r"cannot pickle '_thread\.lock' object"):
        await on(processes)(adds)(threading.Lock())
    assert await on(processes)(adds)(1) == 2


async def test_a_cancelled_call_in_another_process_is_waited_for(
    processes: ProcessPoolExecutor, tmp_path: Any
) -> None:
    """It cannot be stopped."""
    task = asyncio.create_task(on(processes)(meets)(str(tmp_path), "call", "caller"))
    while not (tmp_path / "call").exists():
        await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    (tmp_path / "caller").touch()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancelled_call_that_waits_for_a_process_never_runs(
    processes: ProcessPoolExecutor, tmp_path: Any
) -> None:
    """Both processes are busy, and the queue behind them is full."""
    busy = [asyncio.create_task(on(processes)(meets)(str(tmp_path), "busy", "end")) for _ in range(6)]
    waits = asyncio.create_task(on(processes)(meets)(str(tmp_path), "waits", "end"))
    while not (tmp_path / "busy").exists():
        await asyncio.sleep(0.001)
    waits.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waits
    (tmp_path / "end").touch()
    assert await asyncio.gather(*busy) == ["busy"] * 6
    assert not (tmp_path / "waits").exists()


async def test_an_abandoned_call_in_another_process_goes_on_alone(
    processes: ProcessPoolExecutor, tmp_path: Any
) -> None:
    """Its caller does not wait."""
    task = asyncio.create_task(on(processes, abandon_on_cancel=True)(meets)(str(tmp_path), "call", "caller"))
    while not (tmp_path / "call").exists():
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (tmp_path / "caller").touch()
    assert await on(processes)(adds)(1) == 2


@pytest.mark.parametrize("method", METHODS)
async def test_the_death_of_a_process_is_told(method: str) -> None:
    """To all who wait for the pool, and to those who come later."""
    with ProcessPoolExecutor(1, mp_context=get_context(method)) as executor:
        calls = [on(executor)(dies)(), on(executor)(adds)(1)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [BrokenProcessPool, BrokenProcessPool]
        with pytest.raises(BrokenProcessPool, match="terminated abruptly"):
            await on(executor)(adds)(1)


def test_other_processes_serve_trio(processes: ProcessPoolExecutor) -> None:
    """As they serve asyncio."""
    assert trio.run(on(processes)(adds), 1, 2) == 3


def test_other_processes_serve_a_kept_loop(processes: ProcessPoolExecutor) -> None:
    """That is, where sync code waits above."""
    assert async_to_sync(on(processes)(adds))(1, right=2) == 3


class Envelope(Executor):
    """Takes everything, and keeps what would travel."""

    def __init__(self) -> None:
        self.letters: list[bytes] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        self.letters.append(pickle.dumps((fn, args, kwargs)))
        future: Future[Any] = Future()
        future.set_result(None)
        return future


@pytest.mark.parametrize(("function", "args", "kwargs", "result"), CALLS.values(), ids=CALLS)
async def test_nothing_of_ours_travels(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
) -> None:
    """The other side needs no asgiadapt: what arrives is a plain partial, or what it stands for."""
    executor = Envelope()
    await on(executor, hook=contextmanager(lambda: iter([None])))(function)(*args, **kwargs)
    (letter,) = executor.letters
    names = {str(argument) for _, argument, _ in pickletools.genops(letter) if isinstance(argument, str)}
    if function is not decorated.__wrapped__:  # type: ignore[attr-defined]
        # There the module is imported by name, and its decorator comes from asgiadapt.
        assert not [name for name in names if "asgiadapt" in name], names
    call, more_args, more_kwargs = pickle.load(io.BytesIO(letter))
    assert type(call) is functools.partial
    assert (more_args, more_kwargs) == ((), {})
    outcome = call()
    assert outcome == result if not isinstance(result, type) else isinstance(outcome, result)


# Executors of somebody else.


class Inline(Executor):
    """Runs each call at once, on the thread that submits it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


class OneThreadEach(Executor):
    """Starts a thread for each call, and minds no cancellation."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()

        def work() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=work).start()
        return future


class Refusing(Executor):
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        raise RuntimeError("come again tomorrow")


class Cancelling(Executor):
    """Takes calls, and drops them."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        future.cancel()
        future.set_running_or_notify_cancel()
        return future


async def test_an_executor_may_run_the_call_at_once() -> None:
    """On the thread of the loop; its outcome is there when it is asked for."""
    assert await on(Inline())(here)() == here()
    with pytest.raises(Refused) as caught:
        await on(Inline())(refuses)("no")
    assert caught.value.args == ("no", 7)


async def test_an_executor_may_start_a_thread_for_each_call() -> None:
    """Everything works there as on our own threads."""

    async def inner() -> str:
        return flavour.get()

    flavour.set("sugar")
    assert await on(OneThreadEach())(here)() != here()
    assert await on(OneThreadEach())(async_to_sync(inner))() == "sugar"
    with pytest.raises(Refused):
        await on(OneThreadEach())(refuses)("no")


async def test_an_executor_that_minds_no_cancellation_is_waited_for() -> None:
    """The call is told."""
    entered = threading.Event()

    def asks_until_it_is_told() -> None:
        entered.set()
        while not cancelled():
            pass

    task = asyncio.create_task(on(OneThreadEach())(asks_until_it_is_told)())
    await asyncio.to_thread(entered.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_executor_that_refuses_is_heard() -> None:
    """What it raises comes out of the call, and nothing else changes."""
    for _ in range(2):
        with pytest.raises(RuntimeError, match="come again tomorrow"):
            await on(Refusing())(int)()
    assert await sync_to_async(int)("1") == 1


def test_below_a_waiting_thread_an_executor_that_refuses_is_heard() -> None:
    """The loop has not moved, and nothing is left waiting."""
    with pytest.raises(RuntimeError, match="come again tomorrow"):
        async_to_sync(on(Refusing())(int))()
    assert async_to_sync(sync_to_async(here))() == here()


async def test_an_executor_that_was_shut_down_is_heard() -> None:
    """So that nobody looks for a deadlock."""
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        await on(executor)(int)()


async def test_an_executor_that_drops_the_call_does_not_leave_its_caller_waiting() -> None:
    """It gets the executor's error, which is not the one that cancels tasks."""
    async with asyncio.timeout(30):
        with pytest.raises(concurrent.futures.CancelledError):
            await on(Cancelling())(int)("7")


async def test_an_executor_that_drops_its_queue_does_not_leave_callers_waiting() -> None:
    """As ThreadPoolExecutor does when it is told so at its shutdown."""
    leave = threading.Event()
    executor = ThreadPoolExecutor(1)
    running = asyncio.create_task(on(executor)(leave.wait)(30))
    waiting = asyncio.create_task(on(executor)(int)("7"))
    await asyncio.sleep(0)
    executor.shutdown(wait=False, cancel_futures=True)
    leave.set()
    assert await running
    async with asyncio.timeout(30):
        with pytest.raises(concurrent.futures.CancelledError):
            await waiting


@pytest.mark.parametrize("thing", [lambda call: call(), int, "executor"], ids=["function", "class", "text"])
def test_what_is_no_executor_is_refused(thing: Any) -> None:
    """When the function is wrapped."""
    with pytest.raises(TypeError, match=r"give a concurrent\.futures\.Executor or an asgiadapt\.WorkerPool"):
        on(thing)(int)


# On a cluster.


@pytest.fixture(scope="module")
def cluster() -> Iterator[Executor]:
    """Two worker processes of Dask on this machine."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, processes=True
        ) as local,
        distributed.Client(local) as client,
    ):
        yield client.get_executor(pure=False)


async def test_calls_run_on_a_cluster(cluster: Executor) -> None:
    """In its processes; errors come back."""
    assert await on(cluster)(os.getpid)() != os.getpid()
    assert await on(cluster)(adds)(1, right=2) == 3
    assert await on(cluster)(Counter(10).add)(1, times=3) == 13
    assert await on(cluster)(functools.partial(adds, 1))(2) == 3
    with pytest.raises(Refused) as caught:
        await on(cluster)(refuses)("no")
    assert caught.value.args == ("no", 7)
    results = await asyncio.gather(*(on(cluster)(adds)(number) for number in range(20)))
    assert results == list(range(1, 21))


async def test_equal_calls_on_a_cluster_each_run(cluster: Executor) -> None:
    """With ``pure=False``: otherwise Dask runs those that come together once."""
    made = await asyncio.gather(*(on(cluster)(uuid.uuid4)() for _ in range(20)))
    assert len(set(made)) == 20


async def test_a_decorated_function_runs_on_a_cluster(cluster: Executor) -> None:
    """Its name stands for the decorated one."""
    assert await on(cluster)(decorated.__wrapped__)(1, right=5) == 6  # type: ignore[attr-defined]


async def test_a_cancelled_call_on_a_cluster_ends(cluster: Executor, tmp_path: Any) -> None:
    """The cluster goes on."""
    task = asyncio.create_task(on(cluster)(meets)(str(tmp_path), "call", "caller"))
    while not (tmp_path / "call").exists():
        await asyncio.sleep(0.001)
    task.cancel()
    (tmp_path / "caller").touch()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await on(cluster)(adds)(1) == 2


def test_a_cluster_serves_a_kept_loop(cluster: Executor) -> None:
    """That is, where sync code waits above."""
    assert async_to_sync(on(cluster)(adds))(1) == 2
