"""The WSGI site with every mistake that a run is to find. Tests serve it, to see that the run does."""

import itertools
import os
import tempfile
import threading
from asyncio import Event, Task, create_task
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from tests.soak import inside, wsgi_site
from tests.soak.pages import hello

_LEAK_BYTES = 1 << 20
_LEAK_OBJECTS = 300

Plant: TypeAlias = Callable[[int, Any, Any], Awaitable[None]]


async def _answer(send: Any, body: bytes, *, size: int | None = None) -> None:
    headers = [(b"content-length", b"%d" % (len(body) if size is None else size))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _noted(plant: Plant) -> Plant:
    """As the application notes its requests: so that nothing but the answer is wrong."""

    async def noted(number: int, receive: Any, send: Any) -> None:
        wsgi_site.journal.note(inside.ENTERED, number)
        try:
            await plant(number, receive, send)
        finally:
            wsgi_site.journal.note(inside.LEFT, number)

    return noted


@_noted
async def _answers_another(number: int, _receive: Any, send: Any) -> None:
    await _answer(send, hello(number + 1))


@_noted
async def _answers_half(number: int, _receive: Any, send: Any) -> None:
    await _answer(send, hello(number)[:5])


@_noted
async def _is_cut(number: int, _receive: Any, send: Any) -> None:
    await _answer(send, hello(number), size=100)


@_noted
async def _hangs(_number: int, receive: Any, _send: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _notes_nothing(number: int, _receive: Any, send: Any) -> None:
    await _answer(send, hello(number))


_leaked: list[Any] = []
_never: Event | None = None


async def _wait_for_ever() -> None:
    global _never
    _never = _never or Event()
    await _never.wait()


@_noted
async def _leaks(number: int, _receive: Any, send: Any) -> None:
    stays = threading.Thread(target=threading.Event().wait, daemon=True)
    stays.start()
    leftover = os.path.join(tempfile.gettempdir(), f"{os.getpid()}-{number}")
    task: Task[None] = create_task(_wait_for_ever())
    _leaked.extend([task, open(leftover, "wb"), b"1" * _LEAK_BYTES])  # noqa: SIM115 - it leaks
    _leaked.extend([] for _ in range(_LEAK_OBJECTS))
    await _answer(send, hello(number))


# The first of these requests to each worker, one after the other; all that follow leak.
_plants = itertools.chain(
    [_answers_another, _answers_half, _is_cut, _hangs, _notes_nothing], itertools.repeat(_leaks)
)


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http" and scope["path"] == "/hello":
        await next(_plants)(int(scope["query_string"]), receive, send)
    else:
        await wsgi_site.app(scope, receive, send)
