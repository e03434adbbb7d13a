"""What the type checkers make of `sync_to_async`, `async_to_sync` and what belongs to them. Never run.

A wrong call has an ignore that must be needed, by both of them.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=true
# Code without annotations is what many people have:
# mypy: allow-untyped-defs, allow-incomplete-defs, allow-subclassing-any

import asyncio
import copy
import functools
import json
import operator
import subprocess
import threading
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
)
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import (
    AbstractContextManager,
    ContextDecorator,
    asynccontextmanager,
    closing,
    contextmanager,
    nullcontext,
    suppress,
)
from contextvars import copy_context
from typing import Any, NoReturn, ParamSpec, TypeVar, assert_type, overload

import httpx
import uvloop
from django.contrib.auth import authenticate
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from flask import Flask, render_template
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from asgiadapt import (
    AsyncSingleThreadContext,
    DeadlockError,
    Local,
    LoopStopped,
    LoopThread,
    ThreadSensitiveContext,
    WorkerPool,
    async_to_sync,
    cancelled,
    iscoroutinefunction,
    markcoroutinefunction,
    set_default_loop,
    set_loop_factory,
    sync_to_async,
)

P = ParamSpec("P")
T = TypeVar("T")
flask = Flask(__name__)
untyped: Any = object()


# Plain functions.


def take(data: bytes) -> None: ...


def nothing() -> None: ...


def one(number: int) -> str:
    return str(number)


def many(
    first: int, /, second: str, third: bytes = b"", *others: float, key: bool, limit: int = 5, **rest: complex
) -> list[int]:
    return []


def never() -> NoReturn:
    raise SystemExit


def same(value: T) -> T:
    return value


def several(value: T, count: int) -> list[T]:
    return [value] * count


def call_twice(function: Callable[[], T]) -> T:
    function()
    return function()


@overload
def parsed(text: str) -> int: ...
@overload
def parsed(text: bytes) -> float: ...
def parsed(text: str | bytes) -> float:
    return float(text)


def loose(number: int) -> Any:
    return number


def bare(first, second=1):
    return first


@sync_to_async
def decorated(number: int, name: str = "") -> str:
    return name * number


@sync_to_async()
def decorated_with_nothing(number: int) -> str:
    return str(number)


@sync_to_async(thread_sensitive=False, abandon_on_cancel=True)
def decorated_with_options(number: int) -> str:
    return str(number)


async def functions_are_awaited() -> None:
    assert_type(await sync_to_async(nothing)(), None)
    assert_type(await sync_to_async(one)(1), str)
    assert_type(await sync_to_async(one)(number=1), str)
    assert_type(await sync_to_async(many)(1, "", b"", 1.0, 2.0, key=True, limit=1, more=1j), list[int])
    assert_type(await sync_to_async(many)(1, second="", key=False), list[int])
    assert_type(await sync_to_async(lambda: 1)(), int)
    assert_type(await sync_to_async(functools.partial(one, 1))(), str)
    assert_type(await sync_to_async(functools.lru_cache(one).__wrapped__)(1), str)
    assert_type(await sync_to_async(several)("", 2), list[str])
    assert_type(await sync_to_async(parsed)(""), int)
    assert_type(await decorated(1), str)
    assert_type(await decorated(1, name=""), str)
    assert_type(await decorated_with_nothing(1), str)
    assert_type(await decorated_with_options(1), str)


async def wrong_arguments_are_found() -> None:
    await sync_to_async(nothing)(1)  # type: ignore[call-arg]
    await sync_to_async(one)()  # type: ignore[call-arg]
    await sync_to_async(one)("")  # type: ignore[arg-type]
    await sync_to_async(one)(1, 2)  # type: ignore[call-arg]
    await sync_to_async(one)(wrong=1)  # type: ignore[call-arg]
    await sync_to_async(many)(first=1, second="", key=True)  # type: ignore[call-arg]
    await sync_to_async(many)(1, "")  # type: ignore[call-arg]
    await sync_to_async(many)(1, "", b"", "", key=True)  # type: ignore[arg-type]
    await sync_to_async(many)(1, "", key=True, more="")  # type: ignore[arg-type]
    await sync_to_async(several)("", "")  # type: ignore[arg-type]
    await decorated("")  # type: ignore[arg-type]
    await decorated_with_nothing("")  # type: ignore[arg-type]
    await decorated_with_options("")  # type: ignore[arg-type]
    take(await sync_to_async(one)(1))  # type: ignore[arg-type]
    sync_to_async(one)(1)  # type: ignore[unused-coroutine]
    decorated(1)  # type: ignore[unused-coroutine]


async def the_result_is_a_coroutine() -> None:
    """And so it is taken where nothing but a coroutine is."""
    coroutine: Coroutine[Any, Any, str] = sync_to_async(one)(1)
    task = asyncio.create_task(sync_to_async(one)(2))
    assert_type(task, asyncio.Task[str])
    gathered: tuple[str, str, None] = await asyncio.gather(coroutine, task, sync_to_async(nothing)())
    assert_type(gathered[0], str)
    assert_type(await asyncio.wait_for(sync_to_async(one)(1), 1), str)
    async with asyncio.TaskGroup() as group:
        assert_type(group.create_task(decorated(1)), asyncio.Task[str])
    loop = asyncio.get_running_loop()
    assert_type(asyncio.run_coroutine_threadsafe(sync_to_async(one)(1), loop).result(), str)


async def what_may_give_everything_can_be_awaited() -> None:
    """Nothing is taken for a generator, or a context manager, because it is not known what it gives."""
    assert_type(await sync_to_async(loose)(1), Any)
    assert_type(await sync_to_async(untyped)(1), Any)
    assert_type(await sync_to_async(untyped.method)(1, key=1), Any)
    assert_type(await sync_to_async(json.loads)("{}"), Any)
    assert_type(await sync_to_async(cache.get)("key", default=1), Any)
    assert_type(await sync_to_async(cache.get, thread_sensitive=False)("key"), Any)
    await sync_to_async(bare)(1)
    number: int = await sync_to_async(same)(1)
    number = await sync_to_async(copy.copy)(number)
    number = await sync_to_async(call_twice)(lambda: 1)
    number = await sync_to_async(next)(iter([number]))
    number = await sync_to_async(max)(number, 2)
    await sync_to_async(operator.attrgetter("name"))(flask)


def awaited(function: Callable[P, T]) -> Callable[P, Awaitable[T]]:
    """A decorator of one's own keeps the signature."""
    return sync_to_async(function)


def awaited_elsewhere(function: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    @functools.wraps(function)
    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        return await sync_to_async(function, thread_sensitive=False)(*args, **kwargs)

    return wrapper


async def run(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    return await sync_to_async(function)(*args, **kwargs)


async def run_loosely(function: Callable[..., Any], *args: Any) -> Any:
    return await sync_to_async(function)(*args)


def decorator_with_options(function: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    return sync_to_async(thread_sensitive=False)(function)


async def helpers_of_ones_own() -> None:
    assert_type(await awaited(one)(1), str)
    assert_type(await awaited_elsewhere(one)(1), str)
    assert_type(await decorator_with_options(one)(1), str)
    assert_type(await run(one, 1), str)
    await awaited(one)("")  # type: ignore[arg-type]


# Methods and classes.


class Shop:
    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, number: int) -> str:
        return self.name * number

    def plain(self, number: int) -> str:
        return self.name * number

    async def asynchronous(self, number: int) -> str:
        return self.name * number

    @sync_to_async
    def method(self, number: int) -> str:
        return self.name * number

    @sync_to_async(thread_sensitive=False)
    def method_with_options(self, number: int) -> str:
        return self.name * number

    @classmethod
    @sync_to_async
    def class_method(cls, number: int) -> str:
        return cls.__name__ * number

    @sync_to_async
    @classmethod
    def class_method_turned_round(cls, number: int) -> str:
        return cls.__name__ * number

    @sync_to_async()
    @classmethod
    def class_method_with_options(cls, number: int) -> str:
        return cls.__name__ * number

    @staticmethod
    @sync_to_async
    def static_method(number: int) -> str:
        return str(number)

    @sync_to_async
    @staticmethod
    def static_method_turned_round(number: int) -> str:
        return str(number)

    @sync_to_async
    def loose_method(self, number: int) -> Any:
        return number

    @sync_to_async
    def bare_method(self, first, second=1):
        return first

    @sync_to_async
    def generic_method(self, value: T) -> T:
        return value

    @sync_to_async
    def items(self, count: int) -> Generator[str, int, None]:
        yield self.name * count

    @sync_to_async
    @contextmanager
    def opened(self, day: int) -> Iterator[str]:
        yield self.name

    @property
    @sync_to_async
    def owner(self) -> str:
        return self.name

    @async_to_sync
    async def called(self, number: int) -> str:
        return self.name * number

    @async_to_sync(force_new_loop=True)
    async def called_with_options(self, number: int) -> str:
        return self.name * number

    @classmethod
    @async_to_sync
    async def called_class_method(cls, number: int) -> str:
        return cls.__name__ * number

    @async_to_sync
    @classmethod
    async def called_class_method_turned_round(cls, number: int) -> str:
        return cls.__name__ * number

    @staticmethod
    @async_to_sync
    async def called_static_method(number: int) -> str:
        return str(number)

    @async_to_sync
    @staticmethod
    async def called_static_method_turned_round(number: int) -> str:
        return str(number)


class Special(Shop):
    @sync_to_async
    def method(self, number: int) -> str:
        return ""

    async def class_method(self) -> None: ...  # type: ignore[override]


shop = Shop("corner")


async def methods_keep_their_object() -> None:
    assert_type(await shop.method(1), str)
    assert_type(await Shop.method(shop, number=1), str)
    assert_type(await shop.method_with_options(1), str)
    assert_type(await Shop.class_method(1), str)
    assert_type(await shop.class_method(1), str)
    assert_type(await Shop.class_method_turned_round(1), str)
    assert_type(await shop.class_method_turned_round(1), str)
    assert_type(await Shop.class_method_with_options(1), str)
    assert_type(await Shop.static_method(1), str)
    assert_type(await shop.static_method(1), str)
    assert_type(await Shop.static_method_turned_round(1), str)
    assert_type(await shop.static_method_turned_round(1), str)
    assert_type(await shop.loose_method(1), Any)
    await shop.bare_method(1)
    await shop.generic_method(1)
    assert_type(await shop.owner, str)


async def other_callables() -> None:
    assert_type(await sync_to_async(shop.plain)(1), str)
    assert_type(await sync_to_async(Shop.plain)(shop, 1), str)
    assert_type(await sync_to_async(shop)(1), str)
    assert_type(await sync_to_async(Shop)("new"), Shop)
    assert_type(await sync_to_async(Shop)(name="new"), Shop)
    assert_type(await sync_to_async(str)(1), str)
    assert_type(await sync_to_async(time.sleep)(1), None)
    assert_type(await sync_to_async("".startswith)(""), bool)
    assert_type(await sync_to_async(threading.Lock().acquire)(timeout=1), bool)


async def wrong_calls_of_methods() -> None:
    await shop.method()  # type: ignore[call-arg]
    await shop.method("")  # type: ignore[arg-type]
    await Shop.method(1)  # type: ignore[call-arg, arg-type]
    await Shop.class_method("")  # type: ignore[arg-type]
    await Shop.class_method_turned_round("")  # type: ignore[arg-type]
    await Shop.static_method("")  # type: ignore[arg-type]
    await Shop.static_method_turned_round("")  # type: ignore[arg-type]
    await sync_to_async(shop)("")  # type: ignore[arg-type]
    await sync_to_async(Shop)(1)  # type: ignore[arg-type]


# Generators and iterators.


def counted(limit: int) -> Generator[int, str, bool]:
    yield limit
    return True


def pairs(value: T) -> Generator[tuple[T, T], None, None]:
    yield value, value


def numbers(count: int) -> Iterator[int]:
    return iter(range(count))


@sync_to_async
def lines(path: str) -> Generator[str, None, None]:
    yield path


@sync_to_async(thread_sensitive=False)
def lines_elsewhere(path: str) -> Generator[str, None, None]:
    yield path


async def generator_functions_look_like_others() -> None:
    """Their results may be generic or Any, and no checker tells those from generators."""
    steps = sync_to_async(counted)(3)
    assert_type(await steps, Generator[int, str, bool])


async def functions_that_give_an_iterator_stay_functions() -> None:
    """As at run time, where they are no generator functions."""
    assert_type(await sync_to_async(numbers)(3), Iterator[int])
    assert_type(await sync_to_async(User.objects.iterator)(), Iterator[User])
    async for _ in sync_to_async(numbers)(3):  # type: ignore[attr-defined]
        pass


async def iterators_become_async() -> None:
    assert_type(sync_to_async(iter([1])), AsyncGenerator[int, Any])
    async for number in sync_to_async(iter([1]), thread_sensitive=False):
        assert_type(number, int)
    async for number in sync_to_async(counted(1)):
        assert_type(number, int)
    async for pair in sync_to_async(zip([1], [""], strict=True)):
        assert_type(pair, tuple[int, str])


async def wrong_uses_of_generators() -> None:
    await sync_to_async(iter([1]))  # type: ignore[misc]
    for _ in lines("path"):  # type: ignore[attr-defined]
        pass
    async for _ in sync_to_async(one)(1):  # type: ignore[attr-defined]
        pass
    sync_to_async([1])  # type: ignore[call-overload]
    sync_to_async(iter([1]))(1)  # type: ignore[operator]


# Context managers.


@contextmanager
def opened(path: str) -> Iterator[int]:
    yield 1


@contextmanager
def opened_as_generator(path: str) -> Generator[int, None, None]:
    yield 1


@contextmanager
def holding(value: T) -> Iterator[T]:
    yield value


class Lock:
    """Does not raise less than what it holds."""

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *error: object) -> None: ...


class Decorating(ContextDecorator):
    def __enter__(self) -> int:
        return 1

    def __exit__(self, *error: object) -> None: ...


async def context_managers_become_async(generator: Generator[int, str, bool]) -> None:
    async with sync_to_async(opened("path")) as opened_number:
        assert_type(opened_number, int)
    async with sync_to_async(Lock()) as lock:
        assert_type(lock, Lock)
    async with sync_to_async(threading.Lock()) as locked:
        assert_type(locked, bool)
    async with sync_to_async(nullcontext(1)) as number, sync_to_async(closing(generator)) as same_generator:
        assert_type(same_generator, Generator[int, str, bool])
    async with sync_to_async(open("path")) as file:
        assert_type(file.read(), str)
    # Those that can decorate functions, too, are meant as managers.
    async with sync_to_async(opened("path")) as number:
        assert_type(number, int)
    async with sync_to_async(Decorating()) as number:
        assert_type(number, int)
    async with sync_to_async(transaction.atomic()):
        pass


async def what_is_swallowed_is_known() -> int:
    """A checker knows that the code after the block is reached, and that after another is not."""
    async with sync_to_async(suppress(KeyError)):
        raise KeyError


async def wrong_uses_of_context_managers() -> None:
    sync_to_async(Lock())()  # type: ignore[operator]
    with sync_to_async(opened)("path"):  # type: ignore[attr-defined]
        pass
    async with sync_to_async(one)(1):  # type: ignore[attr-defined]
        pass


# The options of sync_to_async.


@contextmanager
def traced() -> Iterator[int]:
    yield 1


def connection_checked() -> AbstractContextManager[None]:
    return nullcontext()


async def with_options(threads: Executor, pool: WorkerPool) -> None:
    assert_type(await sync_to_async(one, thread_sensitive=True)(1), str)
    assert_type(await sync_to_async(one, thread_sensitive=False, executor=threads)(1), str)
    assert_type(await sync_to_async(one, thread_sensitive=False, executor=pool)(1), str)
    assert_type(await sync_to_async(one, thread_sensitive=False, executor=None)(1), str)
    with ThreadPoolExecutor(1) as executor, ProcessPoolExecutor(1) as processes:
        await sync_to_async(one, thread_sensitive=False, executor=executor)(1)
        await sync_to_async(one, thread_sensitive=False, executor=processes)(1)
    assert_type(await sync_to_async(one, context=copy_context())(1), str)
    assert_type(await sync_to_async(one, abandon_on_cancel=True)(1), str)
    assert_type(await sync_to_async(one, hook=traced)(1), str)
    assert_type(await sync_to_async(one, hook=connection_checked)(1), str)
    assert_type(await sync_to_async(one, hook=Lock)(1), str)
    assert_type(await sync_to_async(thread_sensitive=False, executor=pool)(one)(1), str)


def wrong_options() -> None:
    sync_to_async(one, True)  # type: ignore[call-overload]
    sync_to_async(one, thread_sensitive="no")  # type: ignore[call-overload]
    sync_to_async(one, sensitive=False)  # type: ignore[call-overload]
    sync_to_async(one, thread_sensitive=False, executor=4)  # type: ignore[call-overload]
    sync_to_async(one, context={})  # type: ignore[call-overload]
    sync_to_async(one, hook=traced())  # type: ignore[arg-type]
    sync_to_async(one, hook=nothing)  # type: ignore[arg-type]
    sync_to_async(thread_sensitive="no")  # type: ignore[call-overload]
    sync_to_async(5)  # type: ignore[call-overload]
    sync_to_async("name")  # type: ignore[call-overload]


# Async functions, where plain ones are meant.


async def fetched(number: int) -> str:
    return str(number)


async def asynchronous_items(count: int) -> AsyncGenerator[str, int]:
    yield str(count)


@sync_to_async
async def mistaken(number: int) -> str:
    return str(number)


async def async_functions_are_not_for_sync_to_async() -> None:
    """It shows where the result is used: nothing tells them from functions that give a coroutine."""
    Shop(await sync_to_async(fetched)(1))  # type: ignore[arg-type]
    Shop(await sync_to_async(functools.partial(fetched, 1))())  # type: ignore[arg-type]
    Shop(await sync_to_async(thread_sensitive=False)(shop.asynchronous)(1))  # type: ignore[arg-type]
    Shop(await mistaken(1))  # type: ignore[arg-type]
    async for _ in sync_to_async(asynchronous_items)(1):  # type: ignore[attr-defined]
        pass


# Async functions, called.


async def fetched_many(
    first: int, /, second: str, third: bytes = b"", *others: float, key: bool, limit: int = 5, **rest: complex
) -> list[int]:
    return []


async def same_later(value: T) -> T:
    return value


def fetched_in_future(number: int) -> asyncio.Future[str]:
    return asyncio.Future()


def fetched_sometime(number: int) -> Awaitable[str]:
    return fetched(number)


@overload
async def parsed_later(text: str) -> int: ...
@overload
async def parsed_later(text: bytes) -> float: ...
async def parsed_later(text: str | bytes) -> float:
    return float(text)


async def fetched_bare(first, second=1):
    return first


class Fetcher:
    async def __call__(self, number: int) -> str:
        return str(number)


@async_to_sync
async def called(number: int, name: str = "") -> str:
    return name * number


@async_to_sync()
async def called_with_nothing(number: int) -> str:
    return str(number)


@async_to_sync(force_new_loop=True)
async def called_with_options(number: int) -> str:
    return str(number)


def async_functions_are_called() -> None:
    assert_type(async_to_sync(fetched)(1), str)
    assert_type(async_to_sync(fetched)(number=1), str)
    assert_type(async_to_sync(fetched_many)(1, "", b"", 1.0, 2.0, key=True, limit=1, more=1j), list[int])
    assert_type(async_to_sync(fetched_many)(1, second="", key=False), list[int])
    assert_type(async_to_sync(same_later)(1), int)
    assert_type(async_to_sync(parsed_later)(""), int)
    assert_type(async_to_sync(fetched_in_future)(1), str)
    assert_type(async_to_sync(fetched_sometime)(1), str)
    assert_type(async_to_sync(Fetcher())(1), str)
    assert_type(async_to_sync(functools.partial(fetched, 1))(), str)
    assert_type(async_to_sync(lambda: fetched(1))(), str)
    assert_type(async_to_sync(shop.asynchronous)(1), str)
    assert_type(async_to_sync(Shop.asynchronous)(shop, 1), str)
    assert_type(async_to_sync(sync_to_async(one))(1), str)
    assert_type(async_to_sync(decorated)(1), str)
    assert_type(async_to_sync(shop.method)(1), str)
    assert_type(async_to_sync(asyncio.wait_for)(fetched(1), 1), str)
    assert_type(async_to_sync(fetched_bare)(1, second=2), Any)
    assert_type(async_to_sync(untyped)(1), Any)
    assert_type(async_to_sync(cache.aget)("key"), Any)
    assert_type(called(1), str)
    assert_type(called(1, name=""), str)
    assert_type(called_with_nothing(1), str)
    assert_type(called_with_options(1), str)
    assert_type(shop.called(1), str)
    assert_type(Shop.called(shop, number=1), str)
    assert_type(shop.called_with_options(1), str)
    assert_type(Shop.called_class_method(1), str)
    assert_type(shop.called_class_method_turned_round(1), str)
    assert_type(Shop.called_static_method(1), str)
    assert_type(shop.called_static_method_turned_round(1), str)


def wrong_arguments_of_async_functions_are_found() -> None:
    async_to_sync(fetched)()  # type: ignore[call-arg]
    async_to_sync(fetched)("")  # type: ignore[arg-type]
    async_to_sync(fetched)(1, 2)  # type: ignore[call-arg]
    async_to_sync(fetched_many)(first=1, second="", key=True)  # type: ignore[call-arg]
    async_to_sync(fetched_many)(1, "")  # type: ignore[call-arg]
    async_to_sync(fetched_many)(1, "", key=True, more="")  # type: ignore[arg-type]
    called("")  # type: ignore[arg-type]
    called_with_nothing("")  # type: ignore[arg-type]
    called_with_options("")  # type: ignore[arg-type]
    shop.called("")  # type: ignore[arg-type]
    Shop.called_class_method("")  # type: ignore[arg-type]
    Shop.called_class_method_turned_round("")  # type: ignore[arg-type]
    Shop.called_static_method_turned_round("")  # type: ignore[arg-type]
    take(async_to_sync(fetched)(1))  # type: ignore[arg-type]


def plain_functions_are_not_for_async_to_sync() -> None:
    async_to_sync(nothing)  # type: ignore[arg-type]
    async_to_sync(one)  # type: ignore[arg-type]
    async_to_sync(fetched(1))  # type: ignore[call-overload]
    async_to_sync(shop.plain)  # type: ignore[arg-type]
    async_to_sync(lambda: 1)  # type: ignore[arg-type, return-value]
    async_to_sync(opened)  # type: ignore[arg-type]
    async_to_sync(counted)  # type: ignore[arg-type]
    async_to_sync(5)  # type: ignore[call-overload]
    async_to_sync(Lock())  # type: ignore[call-overload]
    async_to_sync()(one)  # type: ignore[arg-type]


def decorated_by_our_own(function: Callable[P, Awaitable[T]]) -> Callable[P, T]:
    return async_to_sync(function)


def run_async(function: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
    return async_to_sync(function, force_new_loop=True)(*args)


assert_type(decorated_by_our_own(fetched)(1), str)
assert_type(run_async(fetched, 1), str)


# Async generators and context managers, used from plain code.


async def asynchronous_lines(path: str) -> AsyncIterator[str]:
    yield path


@async_to_sync
async def called_lines(path: str) -> AsyncIterator[str]:
    yield path


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[int]:
    yield 1


@async_to_sync
@asynccontextmanager
async def called_connected(url: str) -> AsyncGenerator[int]:
    yield 1


class AsyncLock:
    async def __aenter__(self) -> "AsyncLock":
        return self

    async def __aexit__(self, *error: object) -> None: ...


def async_generators_become_plain() -> None:
    generator = async_to_sync(asynchronous_items)(3)
    assert_type(generator, Generator[str, int, None])
    assert_type(generator.send(1), str)
    assert_type(next(generator), str)
    assert_type(generator.close(), None)
    for line in async_to_sync(asynchronous_lines)("path"):
        assert_type(line, str)
    for line in called_lines(path="path"):
        assert_type(line, str)
    for item in async_to_sync(asynchronous_items(3), force_new_loop=True):
        assert_type(item, str)
    for line in async_to_sync(asynchronous_lines("path")):
        assert_type(line, str)
    assert_type(list(async_to_sync(asynchronous_lines)("path")), list[str])


def async_context_managers_become_plain() -> None:
    with async_to_sync(connected)("url") as number:
        assert_type(number, int)
    with async_to_sync(connected, force_new_loop=True)(url="url") as number:
        assert_type(number, int)
    with called_connected("url") as number:
        assert_type(number, int)
    with async_to_sync(AsyncLock()) as lock:
        assert_type(lock, AsyncLock)
    with async_to_sync(asyncio.timeout(1)) as timeout:
        assert_type(timeout, asyncio.Timeout)
    with async_to_sync(httpx.AsyncClient()) as client:
        assert_type(client, httpx.AsyncClient)


def wrong_uses_of_async_generators_and_context_managers() -> None:
    async_to_sync(asynchronous_items)("")  # type: ignore[arg-type]
    async_to_sync(asynchronous_items)(3).send("")  # type: ignore[arg-type]
    async_to_sync(connected)(1)  # type: ignore[arg-type]
    async_to_sync(AsyncLock())()  # type: ignore[operator]
    for _ in async_to_sync(fetched)(1).wrong:  # type: ignore[attr-defined]
        pass
    with async_to_sync(asynchronous_items)(3):  # type: ignore[attr-defined]
        pass


# Loops.


loop_thread = LoopThread()
assert_type(LoopThread(uvloop.new_event_loop), LoopThread)
assert_type(LoopThread(loop_factory=asyncio.SelectorEventLoop), LoopThread)
assert_type(loop_thread.close(), bool)
assert_type(loop_thread.close(timeout=1.5), bool)
with LoopThread() as entered:
    assert_type(entered, LoopThread)
assert_type(async_to_sync(fetched, loop=loop_thread)(1), str)
assert_type(async_to_sync(loop=loop_thread)(fetched)(1), str)
assert_type(set_default_loop(loop_thread), None)
assert_type(set_default_loop(None), None)
assert_type(set_loop_factory(uvloop.new_event_loop), None)
assert_type(set_loop_factory(None), None)
with AsyncSingleThreadContext() as single:
    assert_type(single, AsyncSingleThreadContext)

LoopThread(5)  # type: ignore[arg-type]
LoopThread(uvloop.new_event_loop())  # type: ignore[arg-type]
loop_thread.close("soon")  # type: ignore[arg-type]
set_default_loop(asyncio.new_event_loop())  # type: ignore[arg-type]
set_loop_factory(asyncio.new_event_loop())  # type: ignore[arg-type]
async_to_sync(fetched, True)  # type: ignore[call-overload]
async_to_sync(fetched, loop=asyncio.new_event_loop())  # type: ignore[call-overload]
async_to_sync(fetched, force_new_loop="no")  # type: ignore[call-overload]
async_to_sync(fetched, thread_sensitive=True)  # type: ignore[call-overload]


# What belongs to them.


local = Local()
critical = Local(thread_critical=True)
local.anything = 1
local.anything = ""
assert_type(local.other, Any)
del local.anything
Local(5)  # type: ignore[arg-type]


class MyLocal(Local): ...  # type: ignore[misc]


async def in_a_sensitive_context() -> None:
    async with ThreadSensitiveContext() as context:
        assert_type(context, ThreadSensitiveContext)
    with ThreadPoolExecutor(1) as executor:
        async with ThreadSensitiveContext(executor=executor):
            assert_type(await sync_to_async(one)(1), str)
    with ThreadSensitiveContext():  # type: ignore[attr-defined]
        pass
    ThreadSensitiveContext(WorkerPool())  # type: ignore[call-arg, arg-type]
    ThreadSensitiveContext(executor=WorkerPool())  # type: ignore[arg-type]


assert_type(cancelled(), bool)
assert_type(iscoroutinefunction(fetched), bool)
assert_type(async_to_sync(markcoroutinefunction(fetched_sometime))(1), str)
cancelled(1)  # type: ignore[call-arg]
runtime_errors: list[type[RuntimeError]] = [DeadlockError, LoopStopped]


# As people use them.


class Book(untyped.Model):
    """What derives from something unknown, such as a model of a framework without annotations."""

    title: str


def book(key: int) -> Book:
    return Book()


async def models_without_annotations() -> None:
    await sync_to_async(book)(1)
    await sync_to_async(Book.objects.get)(pk=1)
    async with sync_to_async(transaction.atomic()):
        await sync_to_async(Book.objects.create)(title="")


async def django_view(request: HttpRequest, key: int) -> HttpResponse:
    user = await sync_to_async(User.objects.get)(pk=key)
    assert_type(user, User)
    assert_type(await sync_to_async(get_object_or_404)(User, pk=key), User)
    assert_type(await sync_to_async(User.objects.filter(pk=key).first)(), User | None)
    assert_type(await sync_to_async(User.objects.get_or_create)(username=""), tuple[User, bool])
    assert_type(await sync_to_async(lambda: list(User.objects.all()))(), list[User])
    assert_type(await sync_to_async(tuple)(User.objects.all()), tuple[User, ...])
    assert_type(await sync_to_async(authenticate)(request, password=""), AbstractBaseUser | None)
    assert_type(await sync_to_async(user.save)(update_fields=["email"]), None)
    assert_type(async_to_sync(User.objects.aget)(pk=key), User)
    for found in async_to_sync(User.objects.all().aiterator)():
        assert_type(found, User)
    return await sync_to_async(render)(request, "page.html", {"user": user})


@sync_to_async
def names(users: QuerySet[User]) -> Generator[str, None, None]:
    for user in users.iterator():
        yield user.username


class Middleware:
    async_capable = True
    sync_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> Any:
        await sync_to_async(self.before, thread_sensitive=True)(request)
        return await sync_to_async(self.get_response)(request)

    def before(self, request: HttpRequest) -> None: ...


@flask.get("/")
def flask_view() -> str:
    with async_to_sync(httpx.AsyncClient()) as client:
        answer = async_to_sync(client.get)("https://example.org", timeout=1)
    assert_type(answer, httpx.Response)
    return render_template("page.html", text=answer.text)


@flask.get("/async")
@async_to_sync
async def flask_async_view() -> str:
    return await sync_to_async(render_template)("page.html", text="")


async def starlette_view(request: Request) -> Response:
    body = await sync_to_async(json.loads, thread_sensitive=False)(await request.body())
    answer = await sync_to_async(httpx.post)("https://example.org", json=body)
    assert_type(answer, httpx.Response)
    return JSONResponse(await sync_to_async(answer.json)(), await sync_to_async(subprocess.call)(["true"]))


routes = [Route("/", starlette_view), Route("/plain", sync_to_async(Response))]


def items_in_batches(items: Iterable[T]) -> Generator[list[T], None, None]:
    yield list(items)
