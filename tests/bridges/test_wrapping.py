"""What may be wrapped, what the wrapper looks like, and which arguments it passes on."""

import asyncio
import functools
import inspect
import threading
import warnings
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from unittest.mock import AsyncMock, MagicMock, Mock

import pytest

from asgiadapt import (
    DeadlockError,
    WorkerPool,
    async_to_sync,
    iscoroutinefunction,
    markcoroutinefunction,
    sync_to_async,
)

ONLY_SYNC = r"sync_to_async can only be applied to sync functions\."
NOT_MARKED = "async_to_sync was passed a non-async-marked callable"


def adds(a: int, b: int = 10, *, c: int = 100) -> int:
    """Adds up."""
    return a + b + c


async def adds_later(a: int, b: int = 10, *, c: int = 100) -> int:
    """Adds up, later."""
    await asyncio.sleep(0)
    return a + b + c


class Adds:
    """A sync callable, with state and methods of every kind."""

    base = 1000

    def __init__(self, start: int = 0) -> None:
        self.start = start

    def __call__(self, a: int) -> int:
        return self.start + a

    def method(self, a: int) -> int:
        return self.start + a

    @classmethod
    def of_class(cls, a: int) -> int:
        return cls.base + a

    @staticmethod
    def of_nobody(a: int) -> int:
        return a


class AddsLater:
    """The same, async."""

    base = 1000

    def __init__(self, start: int = 0) -> None:
        self.start = start

    async def __call__(self, a: int) -> int:
        return self.start + a

    async def method(self, a: int) -> int:
        return self.start + a

    @classmethod
    async def of_class(cls, a: int) -> int:
        return cls.base + a

    @staticmethod
    async def of_nobody(a: int) -> int:
        return a


class Marked:
    """A sync __call__ that gives an awaitable, on an object that is marked as async."""

    def __init__(self) -> None:
        markcoroutinefunction(self)

    def __call__(self, a: int) -> Awaitable[int]:
        return adds_later(a, 0, c=0)


def gives_coroutine(a: int) -> Awaitable[int]:
    return adds_later(a, 0, c=0)


# Calls and arguments.


async def test_arguments_go_in_and_the_result_comes_out() -> None:
    """Positional ones, those with defaults and keywords."""
    assert await sync_to_async(adds)(1) == 111
    assert await sync_to_async(adds)(1, 2, c=3) == 6
    assert await sync_to_async(adds)(a=1, b=2, c=3) == 6


def test_arguments_go_in_and_the_result_comes_out_of_async_code() -> None:
    """Positional ones, those with defaults and keywords."""
    assert async_to_sync(adds_later)(1) == 111
    assert async_to_sync(adds_later)(1, 2, c=3) == 6
    assert async_to_sync(adds_later)(a=1, b=2, c=3) == 6


async def test_a_wrong_argument_raises_what_the_function_would_raise() -> None:
    """At the await."""
    with pytest.raises(TypeError, match=r"adds\(\) got an unexpected keyword argument 'd'"):
        await sync_to_async(adds)(1, d=2)


def test_a_wrong_argument_raises_what_the_async_function_would_raise() -> None:
    """At the call."""
    with pytest.raises(TypeError, match=r"adds_later\(\) got an unexpected keyword argument 'd'"):
        async_to_sync(adds_later)(1, d=2)


ODD_RESULTS = [
    pytest.param(None, id="None"),
    pytest.param(KeyError("x"), id="an error"),
    pytest.param(StopIteration(5), id="StopIteration"),
    pytest.param(asyncio.CancelledError(), id="CancelledError"),
    pytest.param(NotImplemented, id="NotImplemented"),
    pytest.param(ValueError, id="an error's class"),
    pytest.param((n for n in range(3)), id="a generator"),
    pytest.param(type("", (), {"__await__": None})(), id="no awaitable"),
    pytest.param(type("", (), {"__await__": lambda self: iter(())})(), id="an awaitable"),
    pytest.param(type("", (), {"__bool__": None, "__eq__": None})(), id="not to be looked at"),
    pytest.param(adds_later, id="an async function"),
    pytest.param(Future(), id="a future"),
]


@pytest.mark.parametrize("result", ODD_RESULTS)
async def test_every_result_comes_out_as_it_is(result: object) -> None:
    """Nobody raises, awaits or compares it."""
    assert await sync_to_async(lambda: result)() is result
    assert await sync_to_async(lambda: result, thread_sensitive=False)() is result


@pytest.mark.parametrize("result", ODD_RESULTS)
def test_every_result_comes_out_of_async_code_as_it_is(result: object) -> None:
    """Nobody raises, awaits or compares it."""

    async def gives() -> object:
        return result

    assert async_to_sync(gives)() is result
    assert async_to_sync(gives, force_new_loop=True)() is result


@pytest.mark.parametrize("argument", ODD_RESULTS)
async def test_every_argument_goes_in_as_it_is(argument: object) -> None:
    """Nobody raises, awaits or compares it."""
    seen: list[object] = []
    await sync_to_async(seen.append)(argument)

    async def sees(argument: object) -> None:
        seen.append(argument)

    await sync_to_async(async_to_sync(sees))(argument)
    assert [one is argument for one in seen] == [True, True]


# Every parameter name that our own functions have, or could have.
NAMES = [
    *(
        "self",
        "cls",
        "func",
        "fn",
        "function",
        "callback",
        "awaitable",
        "coroutine",
        "coro",
        "target",
        "call",
    ),
    *("args", "kwargs", "context", "ctx", "loop", "event_loop", "executor", "pool", "thread_sensitive"),
    *("force_new_loop", "hook", "abandon_on_cancel", "name", "result", "error", "call_result", "exc_info"),
    *(
        "task",
        "task_context",
        "job",
        "child",
        "parent",
        "future",
        "waiter",
        "thread",
        "timeout",
        "value",
        "call",
    ),
]


@pytest.mark.parametrize("name", NAMES)
async def test_a_keyword_may_have_any_name(name: str) -> None:
    """It is passed on, and is never taken for a parameter of the bridge."""

    def keywords(**given: object) -> dict[str, object]:
        return given

    assert await sync_to_async(keywords)(**{name: 5}) == {name: 5}
    assert await sync_to_async(keywords, thread_sensitive=False)(**{name: 5}) == {name: 5}


@pytest.mark.parametrize("name", NAMES)
def test_a_keyword_of_an_async_function_may_have_any_name(name: str) -> None:
    """It is passed on, and is never taken for a parameter of the bridge."""

    async def keywords(**given: object) -> dict[str, object]:
        return given

    assert async_to_sync(keywords)(**{name: 5}) == {name: 5}
    assert async_to_sync(keywords, force_new_loop=True)(**{name: 5}) == {name: 5}


# What the wrapper is.


async def test_a_wrapper_of_sync_code_is_a_coroutine_function() -> None:
    """For everybody who asks: it is a real async function."""
    wrapped = sync_to_async(adds)
    assert inspect.isfunction(wrapped)
    assert inspect.iscoroutinefunction(wrapped)
    assert iscoroutinefunction(wrapped)
    coroutine = wrapped(1)
    assert inspect.iscoroutine(coroutine)
    assert await coroutine == 111


def test_a_wrapper_of_async_code_is_a_plain_function() -> None:
    """For everybody who asks."""
    wrapped = async_to_sync(adds_later)
    assert inspect.isfunction(wrapped)
    assert not inspect.iscoroutinefunction(wrapped)
    assert not iscoroutinefunction(wrapped)


def test_the_mark_of_an_async_callable_does_not_come_with_its_metadata() -> None:
    """The wrapper gives results, not awaitables."""
    wrapped = async_to_sync(Marked())
    assert not inspect.iscoroutinefunction(wrapped)
    assert not iscoroutinefunction(wrapped)
    assert wrapped(5) == 5


async def test_nothing_runs_before_the_await() -> None:
    """The call only makes a coroutine."""
    calls: list[int] = []
    coroutine = sync_to_async(calls.append)(1)
    await asyncio.sleep(0)
    assert calls == []
    await coroutine
    assert calls == [1]


@pytest.mark.parametrize("wrap", [sync_to_async, async_to_sync])
def test_the_wrapper_has_the_metadata_of_the_function(wrap: Callable[..., Any]) -> None:
    """Name, module, text, attributes, signature, and the function itself."""
    function: Any = adds if wrap is sync_to_async else adds_later
    function.route = "/add"
    try:
        wrapped = wrap(function)
    finally:
        del function.route
    assert wrapped.__name__ == function.__name__
    assert wrapped.__qualname__ == function.__qualname__
    assert wrapped.__module__ == __name__
    assert wrapped.__doc__ == function.__doc__
    assert wrapped.route == "/add"
    assert wrapped.__wrapped__ is function
    assert inspect.signature(wrapped) == inspect.signature(function)


# Decorators.


async def test_the_wrapper_is_a_decorator_with_and_without_arguments() -> None:
    """Bare, with empty parentheses, and with options."""

    @sync_to_async
    def bare() -> int:
        return 1

    @sync_to_async()
    def empty() -> int:
        return 2

    @sync_to_async(thread_sensitive=False)
    def with_options() -> int:
        return 3

    assert [await bare(), await empty(), await with_options()] == [1, 2, 3]
    assert [f.__name__ for f in (bare, empty, with_options)] == ["bare", "empty", "with_options"]


def test_the_wrapper_of_async_code_is_a_decorator_with_and_without_arguments() -> None:
    """Bare, with empty parentheses, and with options."""

    @async_to_sync
    async def bare() -> int:
        return 1

    @async_to_sync()
    async def empty() -> int:
        return 2

    @async_to_sync(force_new_loop=True)
    async def with_options() -> int:
        return 3

    assert [bare(), empty(), with_options()] == [1, 2, 3]
    assert [f.__name__ for f in (bare, empty, with_options)] == ["bare", "empty", "with_options"]


async def test_a_decorated_method_binds() -> None:
    """Each instance gets its own; the class gives the function."""

    class Account:
        def __init__(self, owner: str) -> None:
            self.owner = owner

        @sync_to_async
        def named(self, greeting: str, *, end: str = "!") -> str:
            return f"{greeting} {self.owner}{end}"

        @sync_to_async(thread_sensitive=False)
        def named_anywhere(self, greeting: str) -> str:
            return f"{greeting} {self.owner}"

    first, second = Account("Ada"), Account("Bo")
    assert await first.named("Hello") == "Hello Ada!"
    assert await second.named("Hello", end=".") == "Hello Bo."
    assert await Account.named(second, "Dear") == "Dear Bo!"
    assert await first.named_anywhere("Hello") == "Hello Ada"
    assert inspect.iscoroutinefunction(first.named)
    assert iscoroutinefunction(first.named)
    assert first.named.__name__ == "named"


def test_a_decorated_async_method_binds() -> None:
    """Each instance gets its own; the class gives the function."""

    class Account:
        def __init__(self, owner: str) -> None:
            self.owner = owner

        @async_to_sync
        async def named(self, greeting: str, *, end: str = "!") -> str:
            return f"{greeting} {self.owner}{end}"

        @async_to_sync(force_new_loop=True)
        async def named_anew(self, greeting: str) -> str:
            return f"{greeting} {self.owner}"

    first, second = Account("Ada"), Account("Bo")
    assert first.named("Hello") == "Hello Ada!"
    assert second.named("Hello", end=".") == "Hello Bo."
    assert Account.named(second, "Dear") == "Dear Bo!"
    assert first.named_anew("Hello") == "Hello Ada"
    assert not iscoroutinefunction(first.named)
    assert first.named.__name__ == "named"


async def test_a_decorated_method_reaches_that_of_its_base_class() -> None:
    """With super(), which is awaited in an async method."""

    class Base:
        @sync_to_async
        def kind(self) -> str:
            return f"base of {type(self).__name__}"

    class Derived(Base):
        async def kind(self) -> str:
            return "derived, " + await super().kind()

    assert await Derived().kind() == "derived, base of Derived"


async def test_class_methods_and_static_methods_are_wrapped_in_either_order() -> None:
    """Under the decorator of the standard library, and over it."""

    class Kinds:
        name = "kinds"

        @classmethod
        @sync_to_async
        def over(cls, a: int) -> tuple[str, int]:
            return cls.name, a

        @sync_to_async
        @classmethod
        def under(cls, a: int) -> tuple[str, int]:
            return cls.name, a

        @staticmethod
        @sync_to_async
        def static_over(a: int) -> int:
            return a

        @sync_to_async
        @staticmethod
        def static_under(a: int) -> int:
            return a

    class Other(Kinds):
        name = "other"

    assert await Kinds.over(1) == ("kinds", 1)
    assert await Kinds.under(2) == ("kinds", 2)
    assert await Other.under(3) == ("other", 3)
    assert await Other().under(4) == ("other", 4)
    assert await Kinds.static_over(5) == 5
    assert await Kinds.static_under(6) == 6
    assert await Kinds().static_under(7) == 7
    assert isinstance(vars(Kinds)["under"], classmethod)
    assert isinstance(vars(Kinds)["static_under"], staticmethod)
    assert inspect.iscoroutinefunction(Kinds.under)


def test_async_class_methods_and_static_methods_are_wrapped() -> None:
    """Under the decorator of the standard library."""

    class Kinds:
        name = "kinds"

        @classmethod
        @async_to_sync
        async def of_class(cls, a: int) -> tuple[str, int]:
            return cls.name, a

        @staticmethod
        @async_to_sync
        async def of_nobody(a: int) -> int:
            return a

    class Other(Kinds):
        name = "other"

    assert Kinds.of_class(1) == ("kinds", 1)
    assert Other().of_class(2) == ("other", 2)
    assert Kinds.of_nobody(3) == 3


# What may be wrapped.


def table_of(kind: type[Any]) -> list[Any]:
    """Callables that give 5."""
    partial = functools.partial(kind(2), 3)
    return [
        pytest.param(kind(2), (3,), id="callable object"),
        pytest.param(kind(2).method, (3,), id="bound method"),
        pytest.param(kind.method, (kind(2), 3), id="method without instance"),
        pytest.param(type("", (kind,), {"base": 2}).of_class, (3,), id="class method"),
        pytest.param(kind.of_nobody, (5,), id="static method"),
        pytest.param(functools.partial(kind.of_nobody, 5), (), id="partial"),
        pytest.param(functools.partial(kind(2).method, 3), (), id="partial of a bound method"),
        pytest.param(functools.partial(functools.partial(kind.of_nobody), 5), (), id="partial of a partial"),
        pytest.param(partial, (), id="partial of a callable object"),
    ]


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        *table_of(Adds),
        pytest.param(lambda a: a, (5,), id="lambda"),
        pytest.param(int, ("5",), id="class"),
        pytest.param(len, ("hello",), id="builtin"),
        pytest.param("hello".find, ("",), id="method of a builtin"),
        pytest.param(functools.cache(Adds.of_nobody), (5,), id="function with a cache"),
        pytest.param(functools.wraps(adds_later)(lambda a: a), (5,), id="sync, in the guise of async"),
    ],
)
async def test_every_kind_of_sync_callable_is_taken(
    function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    """Whether or not it has a name or other metadata."""
    expected = function(*arguments)
    wrapped = sync_to_async(function)
    assert iscoroutinefunction(wrapped)
    assert await wrapped(*arguments) == expected


async def test_a_class_is_called_on_the_thread_even_if_its_instances_are_async() -> None:
    """To make an instance is synchronous, whatever the instance does when it is called."""
    made = await sync_to_async(AddsLater)(2)
    assert isinstance(made, AddsLater)
    assert await made(3) == 5


@pytest.mark.parametrize(
    "function",
    [
        *(pytest.param(row.values[0], id=row.id) for row in table_of(AddsLater)),
        pytest.param(adds_later, id="async function"),
        pytest.param(Marked(), id="marked object"),
        pytest.param(markcoroutinefunction(lambda: None), id="marked function"),
        pytest.param(sync_to_async(adds), id="wrapped already"),
        pytest.param(AsyncMock(), id="mock"),
    ],
)
def test_async_functions_are_refused(function: Callable[..., Any]) -> None:
    """When they are wrapped, not when they are called."""
    with pytest.raises(TypeError, match=ONLY_SYNC):
        sync_to_async(function)


@pytest.mark.parametrize("thing", [5, "text", object(), [adds]], ids=repr)
def test_what_cannot_be_called_is_refused(thing: Any) -> None:
    """When it is wrapped."""
    with pytest.raises(TypeError, match=ONLY_SYNC):
        sync_to_async(thing)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        *table_of(AddsLater),
        pytest.param(Marked(), (5,), id="marked object"),
        pytest.param(markcoroutinefunction(lambda: gives_coroutine(5)), (), id="marked function"),
        pytest.param(sync_to_async(adds), (3, 2), id="wrapped sync function"),
        pytest.param(AsyncMock(return_value=5), (1,), id="mock"),
    ],
)
def test_every_kind_of_async_callable_is_taken(
    function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    """Without a warning."""
    wrapped = async_to_sync(function)
    assert not iscoroutinefunction(wrapped)
    assert wrapped(*arguments) == (105 if arguments == (3, 2) else 5)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        pytest.param(gives_coroutine, (5,), id="function"),
        pytest.param(lambda: gives_coroutine(5), (), id="lambda"),
        pytest.param(functools.partial(gives_coroutine, 5), (), id="partial"),
        pytest.param(type("", (), {"__call__": lambda self: gives_coroutine(5)})(), (), id="object"),
    ],
)
def test_what_may_be_async_is_taken_with_a_warning(
    function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    """What it gives is awaited; the warning points at the line that wraps it."""
    with pytest.warns(UserWarning, match=NOT_MARKED) as caught:
        wrapped = async_to_sync(function)
    assert [record.filename for record in caught] == [__file__]
    assert wrapped(*arguments) == 5


def test_any_awaitable_may_be_given_back() -> None:
    """An object of one's own, not only a coroutine."""

    class Own:
        def __await__(self) -> Any:
            yield from asyncio.sleep(0).__await__()
            return 5

    with pytest.warns(UserWarning, match=NOT_MARKED):
        assert async_to_sync(Own)() == 5


def test_a_sync_function_is_warned_of_and_its_result_cannot_be_awaited() -> None:
    """The warning comes with the wrapping, the error with the call."""
    with pytest.warns(UserWarning, match=NOT_MARKED):
        wrapped = async_to_sync(adds)
    with pytest.raises(TypeError, match="int"):
        wrapped(1)


def test_a_coroutine_instead_of_its_function_is_refused() -> None:
    """It has been called already; the error comes with the wrapping."""
    coroutine = adds_later(1)
    with pytest.raises(TypeError, match="cannot be called"):
        async_to_sync(coroutine)
    coroutine.close()


async def test_an_object_that_has_every_attribute_is_only_called() -> None:
    """Mocks answer to each name, and none of them is taken for ours."""
    for mock in (Mock(return_value=5), MagicMock(return_value=5)):
        assert await sync_to_async(mock)(1, self=2) == 5
        mock.assert_called_once_with(1, self=2)


async def test_an_object_whose_attributes_have_our_names_is_only_called() -> None:
    """They are its own, and stay as they are."""

    class Owner:
        func = context = loop = executor = thread_sensitive = "mine"

        def __call__(self) -> str:
            return f"{self.func} {self.context} {self.loop} {self.executor} {self.thread_sensitive}"

    assert await sync_to_async(Owner())() == "mine mine mine mine mine"


async def test_an_object_without_attributes_is_only_called() -> None:
    """One that refuses to be asked for anything that it does not have."""

    class Bare:
        __slots__ = ()

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(f"no {name} here")

        def __call__(self) -> int:
            return 5

    assert await sync_to_async(Bare())() == 5


# Wrappers of wrappers.


async def test_a_partial_of_a_wrapper_is_awaited() -> None:
    """And is still known as a coroutine function."""
    partial = functools.partial(sync_to_async(adds), 1, c=3)
    assert inspect.iscoroutinefunction(partial)
    assert await partial(2) == 6


def test_one_wrapper_around_the_other_gives_the_function_back() -> None:
    """There and back, from sync code."""
    assert async_to_sync(sync_to_async(adds))(1, c=3) == 14


async def test_the_other_wrapper_around_the_one_gives_the_function_back() -> None:
    """There and back, from async code."""
    assert await sync_to_async(async_to_sync(adds_later))(1, c=3) == 14


async def test_a_wrapper_may_be_called_many_times_at_once() -> None:
    """It keeps nothing of a call."""
    wrapped = sync_to_async(adds, thread_sensitive=False)
    assert await asyncio.gather(*(wrapped(n, 0, c=0) for n in range(100))) == list(range(100))


def test_a_wrapper_may_be_called_from_many_threads_at_once() -> None:
    """It keeps nothing of a call."""
    wrapped = async_to_sync(adds_later)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda n: wrapped(n, 0, c=0), range(100))) == list(range(100))


def test_a_wrapper_serves_one_loop_after_the_other() -> None:
    """Made outside of any, it belongs to none."""
    wrapped = sync_to_async(adds)
    assert [asyncio.run(wrapped(n, 0, c=0)) for n in range(3)] == [0, 1, 2]


# Marks.


def test_a_marked_function_is_a_coroutine_function() -> None:
    """The mark gives back what it was put on."""

    def function() -> None: ...

    assert not iscoroutinefunction(function)
    assert markcoroutinefunction(function) is function
    assert iscoroutinefunction(function)


def test_async_functions_need_no_mark() -> None:
    """Functions, methods and partials are known."""
    assert iscoroutinefunction(adds_later)
    assert iscoroutinefunction(AddsLater().method)
    assert iscoroutinefunction(functools.partial(adds_later, 1))
    assert not iscoroutinefunction(adds)
    assert not iscoroutinefunction(5)


# Options, and calls in the wrong place.


def test_an_executor_is_only_for_calls_that_may_run_on_any_thread() -> None:
    """The error comes when the function is wrapped."""
    with ThreadPoolExecutor(1) as executor:
        with pytest.raises(TypeError, match="executor must not be set when thread_sensitive is True"):
            sync_to_async(adds, executor=executor)
        with pytest.raises(TypeError, match="executor must not be set when thread_sensitive is True"):
            sync_to_async(thread_sensitive=True, executor=executor)(adds)


async def test_an_executor_runs_the_call() -> None:
    """One of the standard library."""
    with ThreadPoolExecutor(1, thread_name_prefix="mine") as executor:
        name = await sync_to_async(thread_name, thread_sensitive=False, executor=executor)()
    assert name.startswith("mine")


async def test_a_worker_pool_runs_the_call() -> None:
    """The thread is one of its own."""
    with WorkerPool(1) as pool:
        on_pool = sync_to_async(threading.get_ident, thread_sensitive=False, executor=pool)
        assert await on_pool() == await on_pool() != threading.get_ident()
        assert pool.stats().threads == 1


def thread_name() -> str:
    return threading.current_thread().name


async def test_async_code_cannot_be_called_on_the_thread_of_a_running_loop() -> None:
    """The error names the way out, and the function is not called."""
    calls: list[int] = []

    async def records() -> None:
        calls.append(1)

    with pytest.raises(DeadlockError, match="in the same thread as an async event loop") as caught:
        async_to_sync(records)()
    assert "just await the async function directly" in str(caught.value)
    assert isinstance(caught.value, RuntimeError)
    assert calls == []


async def test_nor_in_a_callback_of_the_loop() -> None:
    """There is no task there, but the loop runs."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Exception] = loop.create_future()

    def callback() -> None:
        try:
            async_to_sync(adds_later)(1)
        except DeadlockError as error:
            outcome.set_result(error)

    loop.call_soon(callback)
    assert "in the same thread as an async event loop" in str(await outcome)


@pytest.mark.parametrize("force_new_loop", [False, True])
async def test_a_loop_of_its_own_does_not_help_on_the_thread_of_a_running_loop(force_new_loop: bool) -> None:
    """The thread would stand still all the same."""
    with pytest.raises(DeadlockError, match="in the same thread as an async event loop"):
        async_to_sync(adds_later, force_new_loop=force_new_loop)(1)


async def test_the_way_out_is_through_another_thread() -> None:
    """What cannot be called on the loop's thread can be called by a sync function that is awaited."""

    def calls() -> int:
        return async_to_sync(adds_later)(1)

    assert await sync_to_async(calls)() == 111


def test_after_an_error_of_that_kind_the_same_wrapper_works_elsewhere() -> None:
    """Nothing of the failed call is kept."""
    wrapped = async_to_sync(adds_later)

    async def main() -> None:
        with pytest.raises(DeadlockError):
            wrapped(1)

    asyncio.run(main())
    assert wrapped(1) == 111


def test_wrapping_warns_of_nothing_else() -> None:
    """Neither of the two has more to say."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sync_to_async(adds)
        async_to_sync(adds_later)
    assert caught == []
