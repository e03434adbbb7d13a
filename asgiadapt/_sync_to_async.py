"""`sync_to_async`: plain functions awaited, and generators and context managers used from async code.

Which thread runs a thread-sensitive call, the first of these that there is:
    the outermost thread above that waits in `async_to_sync`,
    the thread of the `ThreadSensitiveContext` around it,
    the one thread that all others share.
"""

import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from concurrent.futures import Executor
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    ContextDecorator,
    contextmanager,
)
from contextvars import Context, Token, copy_context
from functools import partial
from sys import exception, maxsize
from types import TracebackType
from typing import Any, Final, ParamSpec, Protocol, Self, TypeVar, cast, overload

from asgiadapt._markers import Nothing, code_of, is_async_callable, keep_metadata
from asgiadapt._threads.calling_thread import outermost_waiting_thread, thread_that_waits_for, waiting_thread
from asgiadapt._threads.calls import Call, Hook, here
from asgiadapt._threads.context import bring_back, place_variable
from asgiadapt._threads.loops import running_loop
from asgiadapt._threads.strand import Strand, shared
from asgiadapt._threads.workers import WorkerPool

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
Owner = TypeVar("Owner")
Sent = TypeVar("Sent")

# Its own, so that no other code's blocking calls stand in the way. As many calls as you like wait.
_pool: Final = WorkerPool(max_waiting=maxsize // 2)
_sensitive_context: Final = place_variable("asgiadapt.ThreadSensitiveContext")


class ThreadSensitiveContext:
    """Gives the thread-sensitive calls in an ``async with`` block a thread of their own, one for all of them.

    The thread is leased at the first such call and given back at the end of the block, so that a server can
    have a block for each request at no cost for those that call nothing. A block within a block changes
    nothing. Calls below an `async_to_sync` run on the thread that waits there, as everywhere. Sensitive calls
    of tasks that outlive the block run on the shared thread.

    With *executor* the block's calls run there, also within another block or below an `async_to_sync`. It has
    to run one call at a time, all on one thread (``ThreadPoolExecutor(max_workers=1)``), and stays yours:
    it is not shut down. Such a context can be entered once, and a sensitive call made by a task that
    outlives it raises RuntimeError; so does entering it again.
    """

    def __init__(self, *, executor: Executor | None = None) -> None:
        self._executor = executor
        self._strand: Strand | None = None
        self._token: Token[Any] | None = None
        self._waiting: Token[Any] | None = None
        self._exited = False

    async def __aenter__(self) -> Self:
        if self._executor is not None:
            if self._token is not None:
                raise RuntimeError("ThreadSensitiveContext is already entered")
            if self._exited:
                raise RuntimeError("ThreadSensitiveContext with an executor cannot be entered again")
            self._token = _sensitive_context.set(self)
            # Until the code below waits for something itself, no thread above is asked.
            self._waiting = waiting_thread.set(None)
        elif _sensitive_context.get() is None:
            self._strand = Strand()
            self._token = _sensitive_context.set(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        token, self._token = self._token, None
        if token is None:
            return
        _sensitive_context.reset(token)
        if self._waiting is not None:
            waiting_thread.reset(self._waiting)
            self._waiting = None
            self._exited = True
        if self._strand is not None:
            self._strand.close()

    def _submit(self, call: Call) -> Strand | None:
        """The place where *call* will run, if that is one of ours."""
        if self._executor is not None:
            if self._exited:
                raise RuntimeError(
                    "ThreadSensitiveContext has exited. Tasks created inside a context with an executor must "
                    "finish before it exits."
                )
            call.submit_to(self._executor)
            return None
        assert self._strand is not None
        if self._strand.submit(call):
            return self._strand
        shared.submit(call)
        return shared


class Options:
    """What `sync_to_async` was asked for."""

    __slots__ = ("_executor", "_sensitive", "abandon", "common", "context", "hook", "strand")

    def __init__(
        self,
        sensitive: bool,
        executor: Executor | WorkerPool | None,
        context: Context | None,
        abandon: bool,
        hook: Hook | None,
    ) -> None:
        if sensitive and executor is not None:
            raise TypeError("executor must not be set when thread_sensitive is True")
        if executor is not None and not isinstance(executor, Executor | WorkerPool):
            raise TypeError(
                f"executor is {executor!r}; give a concurrent.futures.Executor or an asgiadapt.WorkerPool."
            )
        self._sensitive = sensitive
        self._executor = executor
        self.context = context
        self.abandon = abandon
        self.hook = hook
        self.strand: Strand | None = None
        # Of calls that belong together, so that one can reset what another has set.
        self.common: Context | None = None

    def refuse_to_abandon(self) -> None:
        """Say at once what does not go together."""
        if self.abandon:
            raise TypeError(
                "abandon_on_cancel cannot be used for a generator or a context manager: what was left "
                "running could not be closed."
            )

    def on_one_thread(self) -> "Options":
        """The same for calls that belong together. Their thread is leased, and given back with ``close``."""
        options = Options(self._sensitive, self._executor, self.context, False, self.hook)
        if not self._sensitive and self._executor is None:
            options.strand = Strand()
        if self.context is None:
            options.common = Context()
        return options

    def context_of_call(self) -> tuple[Context | None, Context]:
        """What it was before the call, if changes are to be brought back, and the context to call in."""
        if self.context is not None:
            return None, self.context
        before = copy_context()
        if self.common is None:
            return before, before.copy()
        # What the caller has set since the last call.
        self.common.run(bring_back, self.common.copy(), before, places=True)
        return self.common.copy(), self.common

    def close(self) -> None:
        if self.strand is not None:
            self.strand.close()

    def submit(self, call: Call) -> Strand | None:
        """Have *call* run where it should; gives the place if that may have to be left."""
        if not self._sensitive:
            if self.strand is not None:
                self.strand.submit(call)
            elif isinstance(self._executor, Executor):
                call.submit_to(self._executor)
            else:
                call.pool = self._executor or _pool
                call.pool.submit(call)
            return None
        while (waiting := outermost_waiting_thread()) is not None:
            if waiting.submit(call):
                return None
        context = _sensitive_context.get()
        if isinstance(context, ThreadSensitiveContext):
            return context._submit(call)
        # A task may have a context that knows nothing of us; its loop may be known all the same.
        waiting = thread_that_waits_for(getattr(call.loop, "loop", None))
        if waiting is None or not waiting.submit(call):
            shared.submit(call)
            return shared
        return None

    async def leave(self, call: Call, place: Strand | None, *, certain: bool) -> bool:
        """The task that awaits *call* was cancelled. Returns whether it gets the outcome all the same."""
        if await call.leave(abandon=self.abandon, certain=certain) and place is not None:
            place.leave_thread(call)
        return False


def awaited(
    options: Options, function: Callable[P, R], *, certain: bool = False
) -> Callable[P, Coroutine[Any, Any, R]]:
    """*function*, called on a thread; with *certain* also where the caller is cancelled before it begins."""

    async def call_in_thread(*args: P.args, **kwargs: P.kwargs) -> R:
        __traceback_hide__ = __tracebackhide__ = True
        before, context = options.context_of_call()
        call = Call(running_loop(), context, function, args, kwargs, exception(), options.hook)
        # Tracebacks hold this frame, and nothing that was given to the function should live as long as they.
        del args, kwargs
        place = options.submit(call)
        try:
            await call.waiter
        except GeneratorExit:
            # Nothing can be awaited any more.
            if call.abandon() and place is not None:
                place.leave_thread(call)
            raise
        except BaseException as cancellation:
            if not await options.leave(call, place, certain=certain):
                call.lose(cancellation)
                raise
        finally:
            if before is not None and call.over:
                bring_back(before, context)
        return cast(R, call.take())

    return call_in_thread


def _step(resume: Callable[..., T], *args: Any) -> tuple[bool, T | None]:
    # StopIteration cannot be raised out of a coroutine.
    try:
        return True, resume(*args)
    except StopIteration:
        return False, None


def _iterated(options: Options, make: Callable[P, Any]) -> Callable[P, AsyncGenerator[Any, Any]]:
    """What *make* gives, each step on a thread when it is asked for, and closed there in the end."""
    options.refuse_to_abandon()

    async def iterate_in_thread(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[Any, Any]:
        __traceback_hide__ = __tracebackhide__ = True
        iterator = make(*args, **kwargs)
        del args, kwargs
        its_thread = options.on_one_thread()
        step = awaited(its_thread, _step)
        resume: Callable[..., Any] = iterator.__next__
        given: tuple[Any, ...] = ()
        is_open = True
        try:
            while True:
                is_open, item = await step(resume, *given)
                if not is_open:
                    return
                try:
                    answer = yield item
                except GeneratorExit:
                    raise
                except BaseException as error:
                    if not hasattr(iterator, "throw"):
                        raise
                    resume, given = iterator.throw, (error,)
                else:
                    resume, given = (iterator.__next__, ()) if answer is None else (iterator.send, (answer,))
                item = answer = None
        finally:
            given = ()
            try:
                if is_open and hasattr(iterator, "close"):
                    await awaited(its_thread, iterator.close, certain=True)()
            finally:
                its_thread.close()

    return iterate_in_thread


class _EnteredInThread(AbstractAsyncContextManager[T, bool | None]):
    """A context manager that is entered and left on a thread."""

    def __init__(self, options: Options, make: Callable[[], AbstractContextManager[T, bool | None]]) -> None:
        options.refuse_to_abandon()
        self._options = options
        self._its_thread = options
        self._make = make
        self._manager: AbstractContextManager[T, bool | None] | None = None

    def _enter(self) -> T:
        manager = self._make()
        value = type(manager).__enter__(manager)
        self._manager = manager
        return value

    async def __aenter__(self) -> T:
        __traceback_hide__ = __tracebackhide__ = True
        self._its_thread = self._options.on_one_thread()
        try:
            return await awaited(self._its_thread, self._enter)()
        except BaseException as error:
            # Cancelled while it was being entered: the block will not run, and so nobody would leave it.
            if self._manager is not None:
                await self.__aexit__(type(error), error, error.__traceback__)
            self._its_thread.close()
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        __traceback_hide__ = __tracebackhide__ = True
        manager, self._manager = self._manager, None
        if manager is None:
            raise RuntimeError("the context manager was not entered")
        try:
            leave = awaited(self._its_thread, type(manager).__exit__, certain=True)
            return await leave(manager, kind, error, traceback)
        finally:
            self._its_thread.close()


def _entered(
    options: Options, make: Callable[P, AbstractContextManager[T, bool | None]]
) -> Callable[P, AbstractAsyncContextManager[T, bool | None]]:
    options.refuse_to_abandon()

    def enter_in_thread(*args: P.args, **kwargs: P.kwargs) -> _EnteredInThread[T]:
        return _EnteredInThread(options, partial(make, *args, **kwargs))

    return enter_in_thread


@contextmanager
def _manager() -> Iterator[None]:
    yield


_CONTEXT_MANAGER_CODE: Final = code_of(_manager)


def _wrapped(options: Options, func: Any) -> Any:
    if isinstance(func, staticmethod | classmethod):
        return type(func)(_wrapped(options, func.__func__))
    kind = type(func)
    # What can be called is called, but for the managers that can stand as a decorator too.
    if hasattr(kind, "__enter__") and (not callable(func) or isinstance(func, ContextDecorator)):
        manager: Any = func
        return _EnteredInThread(options, lambda: manager)
    if hasattr(kind, "__next__") and not callable(func):
        return _iterated(options, lambda: func)()
    if not callable(func) or is_async_callable(func):
        raise TypeError("sync_to_async can only be applied to sync functions.")
    wrapper: Any
    if inspect.isgeneratorfunction(func) or inspect.isgeneratorfunction(kind.__call__):
        wrapper = _iterated(options, func)
    elif code_of(func) is _CONTEXT_MANAGER_CODE:
        wrapper = _entered(options, cast(Any, func))
    else:
        wrapper = awaited(options, func)
    keep_metadata(wrapper, func)
    return wrapper


class _Decorator(Protocol):
    """`sync_to_async` with its options and without a function."""

    @overload
    def __call__(self, func: Callable[P, R], /) -> Callable[P, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(
        self, func: "classmethod[Owner, P, R]", /
    ) -> "classmethod[Owner, P, Coroutine[Any, Any, R]]": ...


# To type checkers a generator function is a function like others: if it were not, every function whose result
# is generic or Any would be taken for one. Generators and managers themselves can be told.
@overload
def sync_to_async(
    *,
    thread_sensitive: bool = True,
    executor: Executor | WorkerPool | None = None,
    context: Context | None = None,
    abandon_on_cancel: bool = False,
    hook: Hook | None = None,
) -> _Decorator: ...
@overload
def sync_to_async(
    func: type[Nothing],
    *,
    thread_sensitive: bool = True,
    executor: Executor | WorkerPool | None = None,
    context: Context | None = None,
    abandon_on_cancel: bool = False,
    hook: Hook | None = None,
) -> Callable[..., Coroutine[Any, Any, Any]]: ...
@overload
def sync_to_async(
    func: AbstractContextManager[T, bool | None],
    *,
    thread_sensitive: bool = True,
    executor: Executor | WorkerPool | None = None,
    context: Context | None = None,
    hook: Hook | None = None,
) -> AbstractAsyncContextManager[T, bool | None]: ...
@overload
def sync_to_async(
    func: Callable[P, R],
    *,
    thread_sensitive: bool = True,
    executor: Executor | WorkerPool | None = None,
    context: Context | None = None,
    abandon_on_cancel: bool = False,
    hook: Hook | None = None,
) -> Callable[P, Coroutine[Any, Any, R]]: ...
@overload
def sync_to_async(
    func: "classmethod[Owner, P, R]",
    *,
    thread_sensitive: bool = True,
    executor: Executor | WorkerPool | None = None,
    context: Context | None = None,
    abandon_on_cancel: bool = False,
    hook: Hook | None = None,
) -> "classmethod[Owner, P, Coroutine[Any, Any, R]]": ...
@overload
def sync_to_async(
    func: Iterator[T],
    *,
    thread_sensitive: bool = True,
    executor: Executor | WorkerPool | None = None,
    context: Context | None = None,
    hook: Hook | None = None,
) -> AsyncGenerator[T, Any]: ...


def sync_to_async(
    func: Any = None,
    *,
    thread_sensitive: bool = True,
    executor: Executor | WorkerPool | None = None,
    context: Context | None = None,
    abandon_on_cancel: bool = False,
    hook: Hook | None = None,
) -> Any:
    """Make a plain function one to be awaited: ``await sync_to_async(f)(x)`` gives what ``f(x)`` gives.

    The function runs on another thread, and the loop (of asyncio, uvloop or trio) goes on meanwhile. With
    *thread_sensitive* that is the outermost thread above that waits in `async_to_sync`, otherwise the thread
    of the `ThreadSensitiveContext`, otherwise one thread that all such calls of the process share; there they
    run one at a time. Without it, calls run side by side on a pool of 40 threads (more of them wait), or on
    *executor*: a `WorkerPool`, or any `concurrent.futures.Executor`. To an executor in other processes the
    call travels by pickle, as the plain function with its arguments: without context variables and hook.

    The function sees the caller's context variables, and what it sets is set for the caller afterwards; with
    *context* it runs in that one instead, and nothing is brought back. It finds in ``sys.exc_info()`` what
    the caller handles. Its exceptions are raised at the ``await``; StopIteration, which cannot leave a
    coroutine, as the cause of a RuntimeError.

    When the ``await`` is cancelled, a call that has not begun never will. One that runs is waited for, while
    `cancelled` is true in it and what it waits for through `async_to_sync` is cancelled; then
    `asyncio.CancelledError` is raised. With *abandon_on_cancel* that is raised at once: the thread goes on
    alone, its outcome is lost (an error is logged), and later sensitive calls get a fresh thread.

    *hook* is called on the thread before each call and gives a context manager, which is entered around the
    call in the call's context, and left whatever becomes of its caller.

    On a generator function it gives an async generator function, and on a function made by
    `contextlib.contextmanager` one that gives an async context manager; generators, iterators and context
    managers themselves are taken too. Each keeps to one thread from start to end, and is closed there. Also
    for methods, class and static methods; as a decorator with options or without.

    Raises TypeError for an async function, and for *executor* together with *thread_sensitive*. The call
    raises `DeadlockError` on the only thread that could run it, and `PoolFull` or `PoolClosed` for a
    `WorkerPool` of yours.
    """
    options = Options(thread_sensitive, executor, context, abandon_on_cancel, hook)
    return partial(_wrapped, options) if func is None else _wrapped(options, func)


def cancelled() -> bool:
    """Whether the caller of the running sync code was cancelled. On the thread of a call of `sync_to_async`.

    Ask now and then in long work, and stop. Elsewhere the answer is false.
    """
    return here.origin is not None and here.origin.cancelled
