"""What asgiref's documentation promises, asked of asgiref and of what stands in for it."""

import asyncio
import contextvars
import functools
import gc
import threading
import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.compat.both import on_both_sides

pytestmark = on_both_sides
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def awaited(value: Any = "awaited") -> Any:
    await asyncio.sleep(0)
    return value


# The bridges


async def test_both_are_decorators_too(side: Any) -> None:
    """With options and without; what they give is an object of their class."""

    @side.sync_to_async
    def plain() -> int:
        return threading.get_ident()

    @side.sync_to_async(thread_sensitive=False)
    def elsewhere() -> int:
        return threading.get_ident()

    @side.async_to_sync
    async def called() -> int:
        return threading.get_ident()

    assert await plain() != threading.get_ident() != await elsewhere()
    assert isinstance(plain, side.SyncToAsync)
    assert isinstance(elsewhere, side.SyncToAsync)
    assert isinstance(called, side.AsyncToSync)
    assert isinstance(side.async_to_sync(force_new_loop=True)(awaited), side.AsyncToSync)


async def test_methods_are_bound(side: Any) -> None:
    """Of both kinds, when they are decorated in the class and when they are wrapped outside."""

    class Shop:
        @side.sync_to_async
        def price(self, item: str) -> tuple[Any, str]:
            return self, item

        @side.async_to_sync
        async def order(self, item: str) -> tuple[Any, str]:
            return self, item

        def name(self) -> Any:
            return self

    shop = Shop()
    assert await shop.price("tea") == (shop, "tea")
    assert await side.sync_to_async(shop.order)("tea") == (shop, "tea")
    assert side.sync_to_async(shop.name).__self__ is shop
    assert shop.price.__name__ == "price"


async def test_a_class_derived_from_sync_to_async_handles_the_thread(side: Any) -> None:
    """What it does before and after the call is done on the thread of the call."""
    seen: list[tuple[str, int]] = []

    class Handled(side.SyncToAsync):
        def thread_handler(self, loop: Any, *args: Any, **kwargs: Any) -> Any:
            seen.append((f"before on {loop is running}", threading.get_ident()))
            try:
                return super().thread_handler(loop, *args, **kwargs)
            finally:
                seen.append(("after", threading.get_ident()))

    def fails() -> None:
        seen.append(("during", threading.get_ident()))
        raise LookupError("no such thing")

    running = asyncio.get_running_loop()
    with pytest.raises(LookupError, match="no such thing"):
        await Handled(fails)()
    assert [name for name, _ in seen] == ["before on True", "during", "after"]
    assert len({thread for _, thread in seen}) == 1
    assert seen[0][1] != threading.get_ident()


async def test_the_handler_is_given_the_call_as_a_partial(side: Any) -> None:
    """Tools that watch programs look into it."""
    given: list[Any] = []

    class Handled(side.SyncToAsync):
        def thread_handler(self, loop: Any, exc_info: Any, task_context: Any, func: Any, *args: Any) -> Any:
            given.extend(args)
            return super().thread_handler(loop, exc_info, task_context, func, *args)

    def double(number: int, times: int = 2) -> int:
        return number * times

    assert await Handled(double)(4, times=3) == 12
    (child,) = given
    assert isinstance(child, functools.partial)
    assert (child.func, child.args, child.keywords) == (double, (4,), {"times": 3})


def test_a_wrapper_is_gone_with_the_last_reference(side: Any) -> None:
    """It is not left to the garbage collector: Channels makes one for each call."""

    class Handled(side.SyncToAsync):
        def thread_handler(self, *args: Any, **kwargs: Any) -> Any:
            return super().thread_handler(*args, **kwargs)

    gc.disable()
    try:
        for make, function in ((Handled, print), (side.sync_to_async, len), (side.async_to_sync, awaited)):
            gone = weakref.ref(make(function))
            assert gone() is None
    finally:
        gc.enable()


def test_a_class_derived_from_async_to_sync_is_called(side: Any) -> None:
    """Its own ``__call__``, and from there that of the class."""

    class Loud(side.AsyncToSync):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return f"{super().__call__(*args, **kwargs)}!"

    assert Loud(awaited)("hello") == "hello!"


async def test_a_generator_function_is_called_like_any_other(side: Any) -> None:
    """What is awaited is the generator."""

    def numbers() -> Any:
        yield from range(3)

    assert list(await side.sync_to_async(numbers)()) == [0, 1, 2]


async def test_a_wrapper_is_a_coroutine_function_and_keeps_the_name(side: Any) -> None:
    """So that frameworks await it; ``func`` is what it was made of."""

    def named() -> None:
        """Its text."""

    wrapped = side.sync_to_async(named)
    assert side.iscoroutinefunction(wrapped)
    assert not side.iscoroutinefunction(side.async_to_sync(awaited))
    assert (wrapped.__name__, wrapped.__doc__, wrapped.func) == ("named", "Its text.", named)
    assert side.async_to_sync(awaited).awaitable is awaited


@pytest.mark.parametrize("wrong", [1, awaited, functools.partial(awaited, 1)])
def test_sync_to_async_refuses_what_is_not_sync(side: Any, wrong: Any) -> None:
    """When it is wrapped, not when it is called."""
    with pytest.raises(TypeError, match="sync_to_async can only be applied to sync functions"):
        side.sync_to_async(wrong)


def test_an_executor_needs_calls_that_are_not_sensitive(side: Any) -> None:
    """Both together are refused."""
    with ThreadPoolExecutor(1) as executor:
        with pytest.raises(TypeError, match="executor must not be set when thread_sensitive is True"):
            side.sync_to_async(print, executor=executor)


async def test_an_executor_is_whatever_can_be_submitted_to(side: Any) -> None:
    """It need not be derived from the standard library's."""

    class Executor:
        calls = 0

        def submit(self, fn: Any, /, *args: Any) -> "Future[Any]":
            self.calls += 1
            return threads.submit(fn, *args)

    with ThreadPoolExecutor(1, "mine") as threads:
        executor = Executor()
        name = side.sync_to_async(
            lambda: threading.current_thread().name, thread_sensitive=False, executor=executor
        )
        assert (await name()).startswith("mine")
    assert executor.calls == 1


def test_async_to_sync_warns_of_what_is_not_marked(side: Any) -> None:
    """And calls it all the same, on the thread that calls; what it gives is awaited."""
    with pytest.warns(UserWarning, match="async_to_sync was passed a non-async-marked callable"):
        call = side.async_to_sync(lambda: awaited(threading.get_ident()))
    assert call() == threading.get_ident()


async def test_async_to_sync_refuses_the_thread_of_a_loop(side: Any) -> None:
    """It would wait for itself."""
    with pytest.raises(RuntimeError, match=r"You cannot use .* in the same thread as an async event loop"):
        side.async_to_sync(awaited)()


async def test_contexts_go_both_ways(side: Any) -> None:
    """What is set below is set above, through both bridges; with a context of one's own it is set there."""

    async def inner() -> str:
        found = variable.get()
        variable.set("inner")
        return found

    def middle() -> str:
        return side.async_to_sync(inner)()

    variable.set("outer")
    assert await side.sync_to_async(middle)() == "outer"
    assert variable.get() == "inner"
    own = contextvars.Context()
    assert await side.sync_to_async(variable.get, context=own)() == "unset"
    await side.sync_to_async(variable.set, context=own)("own")
    assert (variable.get(), own[variable]) == ("inner", "own")


def test_sensitive_calls_below_a_thread_run_on_it(side: Any) -> None:
    """However deep they are."""

    async def outer() -> int:
        return await side.sync_to_async(side.async_to_sync(inner))()

    async def inner() -> int:
        return await side.sync_to_async(threading.get_ident)()

    assert side.async_to_sync(outer)() == threading.get_ident()


async def test_a_call_that_is_cancelled_is_left_at_once(side: Any) -> None:
    """Its thread goes on, and calls that come later wait for it; one that has not begun never does."""
    entered, may_leave = threading.Event(), threading.Event()
    done: list[str] = []

    def blocks() -> int:
        entered.set()
        may_leave.wait(20)
        done.append("left alone")
        return threading.get_ident()

    async with side.ThreadSensitiveContext():
        left = asyncio.create_task(side.sync_to_async(blocks)())
        await asyncio.to_thread(entered.wait)
        never = asyncio.create_task(side.sync_to_async(done.append)("never begun"))
        await asyncio.sleep(0)
        for task in (left, never):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert not done
        later = asyncio.create_task(side.sync_to_async(done.append)("later"))
        await asyncio.sleep(0)
        may_leave.set()
        await later
    assert done == ["left alone", "later"]


async def test_the_end_of_a_thread_sensitive_context_waits_for_calls_that_were_left(side: Any) -> None:
    """A server so has all requests that still use a thread."""
    entered, may_leave, done = threading.Event(), threading.Event(), threading.Event()

    def blocks() -> None:
        entered.set()
        may_leave.wait(20)
        done.set()

    async def request() -> bool:
        async with side.ThreadSensitiveContext():
            task = asyncio.create_task(side.sync_to_async(blocks)())
            await asyncio.to_thread(entered.wait)
            task.cancel()
            await asyncio.wait([task])
            asyncio.get_running_loop().call_soon(may_leave.set)
        return done.is_set()

    assert await request()


async def test_calls_that_are_not_sensitive_run_on_the_default_executor_of_the_loop(side: Any) -> None:
    """On the one that was set too."""
    name = side.sync_to_async(lambda: threading.current_thread().name, thread_sensitive=False)
    assert (await name()).startswith("asyncio_")
    with ThreadPoolExecutor(1, "mine") as executor:
        asyncio.get_running_loop().set_default_executor(executor)
        assert (await name()).startswith("mine")


async def test_a_thread_sensitive_context_has_a_thread_of_its_own(side: Any) -> None:
    """Another one than that of all others, and the same one for all its calls."""
    usual = await side.sync_to_async(threading.get_ident)()

    async def two_calls() -> set[int]:
        async with side.ThreadSensitiveContext():
            return {await side.sync_to_async(threading.get_ident)() for _ in range(2)}

    (own,) = await two_calls()
    assert usual not in (own, threading.get_ident())


def test_a_single_thread_context_keeps_one_thread(side: Any) -> None:
    """For all calls in it."""

    async def thread() -> int:
        return threading.get_ident()

    with side.AsyncSingleThreadContext():
        first = side.async_to_sync(thread)()
        assert side.async_to_sync(thread)() == first != threading.get_ident()


async def test_marked_functions_are_coroutine_functions(side: Any) -> None:
    """Though they are not written as such."""

    def plain() -> Any:
        return awaited()

    assert not side.iscoroutinefunction(plain)
    assert side.markcoroutinefunction(plain) is plain
    assert side.iscoroutinefunction(plain)


async def test_a_local_follows_the_flow(side: Any) -> None:
    """Through both bridges; a thread-critical one stays."""
    follows, stays = side.Local(), side.Local(thread_critical=True)
    follows.name, stays.name = "outer", "outer"

    def look() -> tuple[str, bool]:
        return follows.name, hasattr(stays, "name")

    assert await side.sync_to_async(look)() == ("outer", False)
    del follows.name
    with pytest.raises(AttributeError, match="object has no attribute 'name'"):
        _ = follows.name


# The other modules


async def test_applications_of_asgi_2_become_applications_of_asgi_3(side: Any) -> None:
    """By what they are, or by what they say; others are left alone."""

    class Old:
        def __init__(self, scope: Any) -> None:
            self.scope = scope

        async def __call__(self, receive: Any, send: Any) -> None:
            await send((self.scope, await receive()))

    async def new(scope: Any, receive: Any, send: Any) -> None:
        await send((scope, await receive()))

    def says_so(scope: Any, receive: Any, send: Any) -> Any:
        return new(scope, receive, send)

    says_so._asgi_single_callable = True
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    assert [side.is_double_callable(app) for app in (Old, new, says_so, Old({}))] == [
        True,
        False,
        False,
        False,
    ]
    assert side.guarantee_single_callable(new) is new
    for app in (Old, new, says_so):
        await side.guarantee_single_callable(app)("scope", functools.partial(awaited, "message"), send)
    assert sent == [("scope", "message")] * 3


async def test_a_stateless_server_keeps_an_instance_for_each_id(side: Any) -> None:
    """One queue each, at most so many and one; those that fail are told and taken out."""
    failures: list[BaseException] = []
    failed = asyncio.Event()
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        if message == "fail":
            raise LookupError(scope["name"])
        await send(message)
        await receive()

    class Server(side.StatelessServer):
        application_checker_interval = 0

        async def handle(self) -> None:
            first = self.get_or_create_application_instance("a", {"name": "a"})
            assert self.get_or_create_application_instance("a", {"name": "a"}) is first
            first.put_nowait("hello")
            second = self.get_or_create_application_instance("b", {"name": "b"})
            assert second is not first
            second.put_nowait("fail")
            await failed.wait()

        async def application_send(self, scope: Any, message: Any) -> None:
            sent.append((scope["name"], message))

        async def application_exception(self, exception: BaseException, application_details: Any) -> None:
            failures.append(exception)
            failed.set()

    server = Server(app, max_applications=1)
    await server.arun()
    assert sent == [("a", "hello")]
    assert [str(error) for error in failures] == ["b"]
    while server.application_instances:
        server.delete_oldest_application_instance()


async def test_a_communicator_speaks_with_an_application(side: Any) -> None:
    """Messages both ways, silence, the end, and what was raised."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert variable.get() == "unset"
        await send((scope, await receive()))
        raise LookupError("after that")

    variable.set("of the test")
    communicator = side.ApplicationCommunicator(app, "scope")
    assert await communicator.receive_nothing(timeout=0)
    await communicator.send_input("message")
    assert await communicator.receive_output() == ("scope", "message")
    with pytest.raises(LookupError, match="after that"):
        await communicator.wait()


async def test_a_communicator_stops_an_application_that_says_nothing(side: Any) -> None:
    """At the end of the time that one waits for a message."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    communicator = side.ApplicationCommunicator(app, {})
    with pytest.raises(TimeoutError):
        await communicator.receive_output(timeout=0.01)
    assert communicator.future.cancelled()


async def test_the_old_timeout_limits_and_warns(side: Any) -> None:
    """In both forms, and not where it is None."""
    with pytest.warns(DeprecationWarning, match=r"Use asyncio\.timeout\(\) instead"):
        limit = side.timeout(0.001)
    with pytest.raises(TimeoutError):
        async with limit:
            await asyncio.Event().wait()
    assert limit.expired
    with pytest.warns(DeprecationWarning, match="deprecated"), side.timeout(None) as none:
        assert none.remaining is None
    with pytest.warns(DeprecationWarning, match="deprecated"), side.timeout(60) as long:
        assert 0 < long.remaining <= 60
    assert not long.expired


def test_the_executor_of_the_current_thread_runs_calls_there(side: Any) -> None:
    """From other threads, until its future is done; not from its own."""
    executor = side.CurrentThreadExecutor(None)
    done: Future[None] = Future()
    found: list[Any] = []

    def elsewhere() -> None:
        found.append(executor.submit(threading.get_ident).result())
        done.set_result(None)

    with pytest.raises(RuntimeError, match="from its own thread"):
        executor.submit(print)
    thread = threading.Thread(target=elsewhere)
    thread.start()
    executor.run_until_future(done)
    thread.join()
    assert found == [threading.get_ident()]
    with pytest.raises(RuntimeError, match="already quit or is broken"):
        with ThreadPoolExecutor(1) as other:
            other.submit(executor.submit, print).result()


def answer_of(messages: list[Any]) -> tuple[int, bytes]:
    return messages[0]["status"], b"".join(message.get("body", b"") for message in messages[1:])


def hello(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "5")])
    return [b"hello"]


@pytest.mark.parametrize("name", ["WsgiToAsgi", "WsgiToAsgiInstance"])
async def test_a_wsgi_application_answers_in_the_same_messages(side: Any, name: str) -> None:
    """Chunk by chunk, and the end of the response in one of its own; the socket is the server's name."""

    def app(environ: Any, start_response: Any) -> Any:
        start_response("201 Created", [("X-Server", environ["SERVER_NAME"] + " " + environ["SERVER_PORT"])])
        yield b"first"
        yield b"second"

    messages: list[Any] = []

    async def send(message: Any) -> None:
        messages.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "headers": [],
        "server": ("/run/app.sock", None),
    }
    await getattr(side, name)(app)(scope, functools.partial(awaited, {"type": "http.request"}), send)
    assert messages == [
        {"type": "http.response.start", "status": 201, "headers": [(b"x-server", b"/run/app.sock 0")]},
        {"type": "http.response.body", "body": b"first", "more_body": True},
        {"type": "http.response.body", "body": b"second", "more_body": True},
        {"type": "http.response.body"},
    ]


@pytest.mark.parametrize("name", ["WsgiToAsgi", "WsgiToAsgiInstance"])
@pytest.mark.parametrize(
    ("count", "limit", "answer"),
    [
        (100, None, (200, b"hello")),
        (101, None, (400, b"Bad Request: Too many duplicate headers")),
        (3, 2, (400, b"Bad Request: Too many duplicate headers")),
        (101, 0, (200, b"hello")),
    ],
)
async def test_repeated_headers_have_their_limit(
    side: Any, name: str, count: int, limit: int | None, answer: tuple[int, bytes]
) -> None:
    """100, another one, or none with 0."""
    messages: list[Any] = []

    async def send(message: Any) -> None:
        messages.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "headers": [(b"x-many", b"1")] * count,
    }
    limits = {} if limit is None else {"duplicate_header_limit": limit}
    receive = functools.partial(awaited, {"type": "http.request"})
    await getattr(side, name)(hello, **limits)(scope, receive, send)
    assert answer_of(messages) == answer


async def test_an_instance_may_have_its_own_environ(side: Any) -> None:
    """Made of what the class makes."""

    class Instance(side.WsgiToAsgiInstance):
        def build_environ(self, scope: Any, body: Any) -> Any:
            return {**super().build_environ(scope, body), "site": "mine"}

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [f"{environ['site']} {environ['PATH_INFO']} {environ['wsgi.input'].read()!r}".encode()]

    messages: list[Any] = []

    async def send(message: Any) -> None:
        messages.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/here",
        "query_string": b"",
        "headers": [(b"content-length", b"4")],
    }
    receive = functools.partial(awaited, {"type": "http.request", "body": b"body"})
    await Instance(app)(scope, receive, send)
    assert answer_of(messages) == (200, b"mine /here b'body'")
