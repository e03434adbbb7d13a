"""`async_to_sync`: async functions, generators and context managers, used from plain code.

Which loop runs the async code, the first of these that there is:
    the loop from which this thread was called, through `sync_to_async` or `WsgiToAsgi`,
    the `LoopThread` that was named, or is the default, or belongs to the `AsyncSingleThreadContext`,
    the loop that this thread keeps, run by the thread itself.
"""

import inspect
import warnings
from asyncio import (
    _get_running_loop,  # which raises nothing
    sleep,
)
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncContextDecorator,
    _AsyncGeneratorContextManager,
    asynccontextmanager,
)
from contextvars import Token, copy_context
from functools import partial
from types import TracebackType
from typing import Any, Final, ParamSpec, Protocol, Self, TypeVar, overload

from asgiadapt._errors import DeadlockError
from asgiadapt._markers import Unknown, code_of, is_async_callable, keep_metadata_but_marks
from asgiadapt._threads import greenlets
from asgiadapt._threads.async_calls import AsyncCall
from asgiadapt._threads.calls import here
from asgiadapt._threads.context import bring_back, place_variable, run_moved
from asgiadapt._threads.conversation import Conversation, Instead
from asgiadapt._threads.kept_loop import call_on_kept_loop, call_on_new_loop
from asgiadapt._threads.loop_thread import LoopThread, default_loop
from asgiadapt._threads.loops import Loop, in_trio

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
Sent = TypeVar("Sent")
Owner = TypeVar("Owner")

_single_thread: Final = place_variable("asgiadapt.AsyncSingleThreadContext")


class AsyncSingleThreadContext:
    """Lets all calls of `async_to_sync` in a ``with`` block run on one loop on one thread.

    The thread is started by the first such call and ends with the block. A block within a block changes
    nothing. Calls with a loop above them run there, as everywhere.
    """

    def __init__(self) -> None:
        self._thread: LoopThread | None = None
        self._token: Token[Any] | None = None

    def __enter__(self) -> Self:
        if _single_thread.get() is None:
            self._thread = LoopThread()
            self._token = _single_thread.set(self._thread)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        token, self._token = self._token, None
        if token is not None and self._thread is not None:
            _single_thread.reset(token)
            self._thread.close()


class Options:
    """What `async_to_sync` was asked for."""

    __slots__ = ("_force_new_loop", "_loop")

    def __init__(self, force_new_loop: bool, loop: LoopThread | None) -> None:
        if loop is not None and not isinstance(loop, LoopThread):
            raise TypeError(f"loop is {loop!r}; give an asgiadapt.LoopThread.")
        if loop is not None and force_new_loop:
            raise TypeError("loop must not be set when force_new_loop is True")
        self._force_new_loop = force_new_loop
        self._loop = loop

    def _loop_elsewhere(self) -> Loop | LoopThread | None:
        """What another thread runs; None where this thread has to run a loop itself."""
        single_thread: LoopThread | None = _single_thread.get()
        if single_thread is not None and single_thread._closed:
            single_thread = None  # this context was copied in a block that has ended
        if self._force_new_loop:
            return single_thread
        origin = here.origin
        if origin is not None and not origin.loop.is_closed():
            return origin.loop
        return self._loop or single_thread or default_loop()

    def call(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> AsyncCall:
        """``await function(*args, **kwargs)``, on the loop where it belongs; the call, when it is over."""
        if (escape := greenlets.escape()) is not None:
            return _escaped(escape, partial(self._call_on_real_thread, function, args, kwargs))
        call = AsyncCall(function, args, kwargs)
        loop = self._loop_elsewhere()
        if loop is not None:
            call.run_elsewhere(loop._running_loop() if isinstance(loop, LoopThread) else loop)
        elif self._force_new_loop:
            call_on_new_loop(call)
        else:
            call_on_kept_loop(call)
        return call

    def _call_on_real_thread(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AsyncCall:
        call = AsyncCall(function, args, kwargs)
        loop = self._loop_elsewhere()
        if loop is None:
            # What a patched loop waits by belongs to its thread, so it cannot go on on another.
            with LoopThread() as loop:
                call.run_elsewhere(loop._running_loop())
        else:
            call.run_elsewhere(loop._running_loop() if isinstance(loop, LoopThread) else loop)
        return call

    def converse(self) -> "_Steps":
        """For calls that belong together."""
        loop = self._loop_elsewhere()
        own = LoopThread() if loop is None else None
        loop = own or loop
        assert loop is not None
        return _Steps(loop._running_loop() if isinstance(loop, LoopThread) else loop, own)


class _Steps:
    """Calls that belong together, and so are made by one task on a loop that runs on between them."""

    def __init__(self, loop: Loop, own: LoopThread | None) -> None:
        self._loop = loop
        self._own = own  # to be closed in the end
        self._conversation = Conversation()

    def take(self, function: Callable[..., Any], *args: Any, instead: Instead | None = None) -> Any:
        """The outcome of a step, as in `Conversation.take_step`."""
        __traceback_hide__ = __tracebackhide__ = True
        _refuse_running_loop()
        if (escape := greenlets.escape()) is not None:
            return _escaped(escape, partial(self._call, function, args, instead)).take()
        return self._call(function, args, instead).take()

    def _call(
        self, function: Callable[..., Any], args: tuple[Any, ...], instead: Instead | None
    ) -> AsyncCall:
        step = AsyncCall(self._conversation.take_step, (function, *args), {"instead": instead})
        step.run_elsewhere(self._loop)
        return step

    def close(self) -> None:
        self._loop.post(self._conversation.finish)
        if self._own is not None:
            # The task of the steps ends first, by itself.
            AsyncCall(sleep, (0,), {}).run_elsewhere(self._loop)
            self._own.close()


def _escaped(escape: Callable[[Callable[[], Any]], Any], function: Callable[[], AsyncCall]) -> AsyncCall:
    """``function()`` by way of *escape*, with the context of this greenlet."""
    if here.origin is not None:
        return function()  # sync code that we have called is on a real thread already
    before = copy_context()
    context = before.copy()

    def run() -> AsyncCall | BaseException:
        try:
            return run_moved(context, function)
        except BaseException as error:
            return error  # the libraries print what is raised

    call: AsyncCall | BaseException = escape(partial(context.run, run))
    bring_back(before, context)
    if isinstance(call, AsyncCall):
        return call
    try:
        raise call
    finally:
        del call  # the traceback holds this frame


def _refuse_running_loop() -> None:
    if _get_running_loop() is None and not in_trio():
        return
    raise DeadlockError(
        "You cannot use async_to_sync in the same thread as an async event loop - just await the async "
        "function directly. Sync code between them can be called through sync_to_async, which runs it on "
        "another thread."
    )


def called(options: Options, function: Callable[..., Any]) -> Callable[..., Any]:
    def call_on_loop(*args: Any, **kwargs: Any) -> Any:
        __traceback_hide__ = __tracebackhide__ = True
        _refuse_running_loop()
        return options.call(function, args, kwargs).take()

    return call_on_loop


async def _step(resume: Callable[..., Awaitable[T]], *args: Any) -> tuple[bool, T | None]:
    # StopAsyncIteration cannot be raised out of a coroutine that is awaited for an async generator.
    try:
        return True, await resume(*args)
    except StopAsyncIteration:
        return False, None


def _iterated(options: Options, make: Callable[..., Any]) -> Callable[..., Generator[Any, Any, None]]:
    """What *make* gives, each step on the loop when it is asked for, and closed there in the end."""

    def iterate_on_loop(*args: Any, **kwargs: Any) -> Generator[Any, Any, None]:
        __traceback_hide__ = __tracebackhide__ = True
        _refuse_running_loop()
        iterator = make(*args, **kwargs)
        del args, kwargs
        steps = options.converse()
        resume: Callable[..., Any] = iterator.__anext__
        given: tuple[Any, ...] = ()
        throw = partial(_step, iterator.athrow) if hasattr(iterator, "athrow") else None
        is_open = True
        try:
            while True:
                is_open, item = steps.take(_step, resume, *given, instead=throw)
                if not is_open:
                    return
                try:
                    answer = yield item
                except GeneratorExit:
                    raise
                except BaseException as error:
                    if not hasattr(iterator, "athrow"):
                        raise
                    resume, given = iterator.athrow, (error,)
                else:
                    resume, given = (
                        (iterator.__anext__, ()) if answer is None else (iterator.asend, (answer,))
                    )
                item = answer = None
        finally:
            given = ()
            try:
                if is_open and hasattr(iterator, "aclose"):
                    steps.take(iterator.aclose)
            finally:
                steps.close()

    return iterate_on_loop


class _EnteredOnLoop(AbstractContextManager[T, bool | None]):
    """An async context manager that is entered and left on a loop, by one task."""

    def __init__(
        self, options: Options, make: Callable[[], AbstractAsyncContextManager[T, bool | None]]
    ) -> None:
        self._options = options
        self._make = make
        self._steps: _Steps | None = None
        self._manager: AbstractAsyncContextManager[T, bool | None] | None = None

    async def _enter(self) -> T:
        manager = self._make()
        value = await type(manager).__aenter__(manager)
        self._manager = manager
        return value

    def __enter__(self) -> T:
        __traceback_hide__ = __tracebackhide__ = True
        _refuse_running_loop()
        self._steps = self._options.converse()
        try:
            value: T = self._steps.take(self._enter)
            return value
        except BaseException as error:
            # Interrupted while it was being entered: the block will not run, and so nobody would leave it.
            if self._manager is not None:
                self.__exit__(type(error), error, error.__traceback__)
            self._steps.close()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        __traceback_hide__ = __tracebackhide__ = True
        manager, self._manager = self._manager, None
        if manager is None or self._steps is None:
            raise RuntimeError("the context manager was not entered")
        try:
            leave = partial(type(manager).__aexit__, manager)

            def leave_cancelled(cancellation: BaseException) -> Awaitable[bool | None]:
                return leave(type(cancellation), cancellation, cancellation.__traceback__)

            instead = leave_cancelled if error is None else None
            result: bool | None = self._steps.take(leave, kind, error, traceback, instead=instead)
            return result
        finally:
            self._steps.close()


def _entered(options: Options, make: Callable[..., Any]) -> Callable[..., _EnteredOnLoop[Any]]:
    def enter_on_loop(*args: Any, **kwargs: Any) -> _EnteredOnLoop[Any]:
        return _EnteredOnLoop(options, partial(make, *args, **kwargs))

    return enter_on_loop


@asynccontextmanager
async def _manager() -> AsyncIterator[None]:
    yield


_CONTEXT_MANAGER_CODE: Final = code_of(_manager)


def _wrapped(options: Options, awaitable: Any, stacklevel: int) -> Any:
    if isinstance(awaitable, staticmethod | classmethod):
        return type(awaitable)(_wrapped(options, awaitable.__func__, stacklevel + 1))
    kind = type(awaitable)
    # What can be called is called, but for the managers that can stand as a decorator too.
    if hasattr(kind, "__aenter__") and (
        not callable(awaitable) or isinstance(awaitable, AsyncContextDecorator)
    ):
        manager: Any = awaitable
        return _EnteredOnLoop(options, lambda: manager)
    if hasattr(kind, "__anext__") and not callable(awaitable):
        return _iterated(options, lambda: awaitable)()
    if not callable(awaitable):
        raise TypeError(
            f"async_to_sync was passed {awaitable!r}, which cannot be called; pass the async function itself "
            f"and call what you get: async_to_sync(function)(arguments)."
        )
    wrapper: Any
    if inspect.isasyncgenfunction(awaitable) or inspect.isasyncgenfunction(kind.__call__):
        wrapper = _iterated(options, awaitable)
    elif code_of(awaitable) is _CONTEXT_MANAGER_CODE:
        wrapper = _entered(options, awaitable)
    else:
        if not is_async_callable(awaitable):
            # It may give something to await all the same; that shows when it is called.
            warnings.warn("async_to_sync was passed a non-async-marked callable", stacklevel=stacklevel)
        wrapper = called(options, awaitable)
    keep_metadata_but_marks(wrapper, awaitable)
    return wrapper


class _Decorator(Protocol):
    """`async_to_sync` with its options and without a function."""

    @overload
    def __call__(self, awaitable: Callable[P, Awaitable[R]], /) -> Callable[P, R]: ...
    @overload
    def __call__(
        self, awaitable: Callable[P, AsyncGenerator[T, Sent]], /
    ) -> Callable[P, Generator[T, Sent]]: ...
    @overload
    def __call__(self, awaitable: Callable[P, AsyncIterator[T]], /) -> Callable[P, Generator[T, Any]]: ...
    @overload
    def __call__(
        self, awaitable: Callable[P, _AsyncGeneratorContextManager[T]], /
    ) -> Callable[P, AbstractContextManager[T, bool | None]]: ...
    @overload
    def __call__(
        self, awaitable: "classmethod[Owner, P, Coroutine[Any, Any, R]]", /
    ) -> "classmethod[Owner, P, R]": ...


@overload
def async_to_sync(*, force_new_loop: bool = False, loop: LoopThread | None = None) -> _Decorator: ...
@overload
def async_to_sync(
    awaitable: Callable[P, Awaitable[R]],
    *,
    force_new_loop: bool = False,
    loop: LoopThread | None = None,
) -> Callable[P, R]: ...
@overload
def async_to_sync(
    awaitable: Callable[P, Unknown], *, force_new_loop: bool = False, loop: LoopThread | None = None
) -> Any: ...
@overload
def async_to_sync(
    awaitable: Callable[P, AsyncGenerator[T, Sent]],
    *,
    force_new_loop: bool = False,
    loop: LoopThread | None = None,
) -> Callable[P, Generator[T, Sent]]: ...
@overload
def async_to_sync(
    awaitable: Callable[P, AsyncIterator[T]],
    *,
    force_new_loop: bool = False,
    loop: LoopThread | None = None,
) -> Callable[P, Generator[T, Any]]: ...
@overload
def async_to_sync(
    awaitable: Callable[P, _AsyncGeneratorContextManager[T]],
    *,
    force_new_loop: bool = False,
    loop: LoopThread | None = None,
) -> Callable[P, AbstractContextManager[T, bool | None]]: ...
@overload
def async_to_sync(
    awaitable: AbstractAsyncContextManager[T, bool | None],
    *,
    force_new_loop: bool = False,
    loop: LoopThread | None = None,
) -> AbstractContextManager[T, bool | None]: ...
@overload
def async_to_sync(
    awaitable: "classmethod[Owner, P, Coroutine[Any, Any, R]]",
    *,
    force_new_loop: bool = False,
    loop: LoopThread | None = None,
) -> "classmethod[Owner, P, R]": ...
@overload
def async_to_sync(
    awaitable: AsyncIterator[T], *, force_new_loop: bool = False, loop: LoopThread | None = None
) -> Generator[T, Any]: ...


def async_to_sync(
    awaitable: Any = None, *, force_new_loop: bool = False, loop: LoopThread | None = None
) -> Any:
    """Make an async function one to be called: ``async_to_sync(f)(x)`` gives what ``await f(x)`` gives.

    The calling thread waits. The function runs on the event loop from which this thread was called, through
    `sync_to_async` or `WsgiToAsgi`. Where there is none, or it has closed, it runs on *loop*, or on that of
    `set_default_loop`; and otherwise on a loop that this thread keeps for such calls, and runs itself. Tasks
    that a call leaves behind on a kept loop are cancelled at its end, and async generators closed; what is
    bound to the loop should not be used in a later call. With *force_new_loop* it gets a new loop, which is
    closed after the call.

    While the thread waits, it runs the thread-sensitive calls of all that it waits for. A kept loop goes on
    on another thread then, and may stay there until the call ends.

    The function sees the caller's context variables, and what it sets is set for the caller afterwards. It
    finds in ``sys.exc_info()`` what the caller handles. Its exceptions are raised unchanged.

    Ctrl-C cancels the function, waits for its end, and is then raised as KeyboardInterrupt; the second time
    it is raised at once. Where the calling thread was itself called through `sync_to_async`, and that call is
    cancelled, so is the function, and `asyncio.CancelledError` is raised here.

    On an async generator function it gives a generator function, and on a function made by
    `contextlib.asynccontextmanager` one that gives a context manager; async generators, iterators and context
    managers themselves are taken too. One task does all steps of each, on a loop that runs on between them.
    Also for methods, class and static methods; as a decorator with options or without.

    Warns (UserWarning) of a function that is not marked as async, and raises TypeError for what cannot be
    called. The call raises `DeadlockError` on the thread of a running event loop, and `LoopStopped` where the
    loop is closed or stopped before the function has ended.
    """
    options = Options(force_new_loop, loop)
    if awaitable is None:
        return lambda awaitable: _wrapped(options, awaitable, 3)
    return _wrapped(options, awaitable, 3)
