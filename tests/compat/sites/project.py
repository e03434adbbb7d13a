"""A Django project in one module: settings, models, middleware, views, consumers."""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, ClassVar

from django.conf import settings

FOLDER = os.environ["PROJECT_FOLDER"]

if not settings.configured:
    settings.configure(
        DEBUG=True,
        SECRET_KEY="of the tests",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        ASGI_APPLICATION=f"{__name__}.channels_application",
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],  # the others take their time
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=[
            *(["daphne"] if "runserver" in sys.argv else []),
            "django.contrib.contenttypes",
            "django.contrib.auth",
            "django.contrib.sessions",
            "channels",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            f"{__name__}.sync_middleware",
            f"{__name__}.async_middleware",
            f"{__name__}.both_middleware",
        ],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": f"{FOLDER}/db.sqlite3",
                "TEST": {"NAME": f"{FOLDER}/test.sqlite3"},
            }
        },
        CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
    )

import django

django.setup()

from asgiref.sync import async_to_sync, sync_to_async
from channels.consumer import SyncConsumer
from channels.db import database_sync_to_async
from channels.generic.http import AsyncHttpConsumer
from channels.generic.websocket import AsyncJsonWebsocketConsumer, WebsocketConsumer
from channels.routing import ChannelNameRouter, ProtocolTypeRouter, URLRouter
from channels.sessions import SessionMiddlewareStack
from django.contrib.auth.models import User
from django.core.asgi import get_asgi_application
from django.core.cache import cache
from django.core.signals import request_started
from django.core.wsgi import get_wsgi_application
from django.db import connection, transaction
from django.dispatch import Signal
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.utils.decorators import async_only_middleware, sync_and_async_middleware, sync_only_middleware
from django.views import View

happened = Signal()
started: list[int] = []
request_started.connect(lambda **_: started.append(1), weak=False)


@sync_only_middleware
def sync_middleware(get_response: Callable[..., Any]) -> Callable[..., Any]:
    def middleware(request: Any) -> Any:
        request.seen = ["sync"]
        response = get_response(request)
        response["x-sync"] = "passed"
        return response

    return middleware


@async_only_middleware
def async_middleware(get_response: Callable[..., Any]) -> Callable[..., Any]:
    async def middleware(request: Any) -> Any:
        request.seen.append("async")
        response = await get_response(request)
        response["x-async"] = "passed"
        return response

    return middleware


@sync_and_async_middleware
def both_middleware(get_response: Any) -> Any:
    from asgiref.sync import iscoroutinefunction

    if iscoroutinefunction(get_response):

        async def middleware(request: Any) -> Any:
            request.seen.append("both, async")
            return await get_response(request)

    else:

        def middleware(request: Any) -> Any:
            request.seen.append("both, sync")
            return get_response(request)

    return middleware


def sync_view(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"seen": request.seen, "loop": in_loop()})


async def async_view(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(0)
    return JsonResponse({"seen": request.seen, "loop": in_loop()})


def in_loop() -> bool:
    return asyncio._get_running_loop() is not None


class ClassView(View):
    async def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("got")

    async def post(self, request: HttpRequest) -> HttpResponse:
        return JsonResponse(
            {"posted": request.POST.dict(), "files": [f.read().decode() for f in request.FILES.values()]}
        )


async def orm(request: HttpRequest) -> HttpResponse:
    await User.objects.filter(username__startswith="orm").adelete()
    first = await User.objects.acreate(username="orm1")
    await sync_to_async(User.objects.create)(username="orm2")
    names = [
        user.username async for user in User.objects.filter(username__startswith="orm").order_by("username")
    ]
    threads = {await sync_to_async(threading.get_ident)() for _ in range(3)}
    count = await sync_to_async(lambda: len(connection.queries) > 0)()
    await first.adelete()
    return JsonResponse(
        {
            "names": names,
            "left": await User.objects.filter(username__startswith="orm").acount(),
            "threads": len(threads),
            "queries": count,
        }
    )


async def rolled_back(request: HttpRequest) -> HttpResponse:
    await User.objects.filter(username="gone").adelete()

    @sync_to_async
    @transaction.atomic
    def fails() -> None:
        User.objects.create(username="gone")
        raise LookupError("on purpose")

    @sync_to_async
    def nested() -> list[bool]:
        found = []
        with transaction.atomic():
            async_to_sync(User.objects.acreate)(username="gone")
            found.append(User.objects.filter(username="gone").exists())
            found.append(connection.in_atomic_block)
            transaction.set_rollback(True)
        return found

    text = ""
    try:
        await fails()
    except LookupError as error:
        text = str(error)
    after_error = await User.objects.filter(username="gone").acount()
    inside = await nested()
    return JsonResponse(
        {
            "error": text,
            "after": after_error,
            "in": inside,
            "left": await User.objects.filter(username="gone").acount(),
        }
    )


@transaction.atomic
def atomic_view(request: HttpRequest) -> HttpResponse:
    User.objects.filter(username="atomic").delete()
    made = async_to_sync(User.objects.acreate)(username="atomic")
    return JsonResponse({"name": made.username, "atomic": connection.in_atomic_block})


def sessions(request: HttpRequest) -> HttpResponse:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse(str(request.session["visits"]))


async def async_sessions(request: HttpRequest) -> HttpResponse:
    visits = await request.session.aget("visits", 0) + 1
    await request.session.aset("visits", visits)
    return JsonResponse({"visits": visits, "user": str(await request.auser())})


async def login(request: HttpRequest) -> HttpResponse:
    from django.contrib.auth import aauthenticate, alogin

    await User.objects.filter(username="ada").adelete()
    await sync_to_async(User.objects.create_user)("ada", password="lovelace")
    user = await aauthenticate(request, username="ada", password="lovelace")
    await alogin(request, user)
    return HttpResponse("welcome")


async def signals(request: HttpRequest) -> HttpResponse:
    def plain(**_: Any) -> tuple[str, bool]:
        return "plain", in_loop()

    async def coroutine(**_: Any) -> tuple[str, bool]:
        await asyncio.sleep(0)
        return "coroutine", in_loop()

    happened.connect(plain)
    happened.connect(coroutine)
    try:
        from_async = [answer for _, answer in await happened.asend(None)]
        from_sync = [answer for _, answer in await sync_to_async(happened.send)(None)]
    finally:
        happened.disconnect(plain)
        happened.disconnect(coroutine)
    return JsonResponse({"async": from_async, "sync": from_sync})


async def caching(request: HttpRequest) -> HttpResponse:
    await cache.aset("key", 3)
    await cache.aincr("key")
    return JsonResponse({"value": await cache.aget("key"), "other": await cache.aget("other", "none")})


def stream(request: HttpRequest) -> StreamingHttpResponse:
    def parts() -> Iterator[str]:
        yield from ("a", "b", "c")

    return StreamingHttpResponse(parts())


async def async_stream(request: HttpRequest) -> StreamingHttpResponse:
    async def parts() -> AsyncIterator[str]:
        for part in "abc":
            await asyncio.sleep(0)
            yield part

    return StreamingHttpResponse(parts())


async def gathered(request: HttpRequest) -> HttpResponse:
    slow = sync_to_async(lambda number: number * number, thread_sensitive=False)
    return JsonResponse({"squares": await asyncio.gather(*map(slow, range(10)))})


async def error(request: HttpRequest) -> HttpResponse:
    await sync_to_async(int)("not a number")
    return HttpResponse("never")


urlpatterns = [
    path("sync", sync_view),
    path("async", async_view),
    path("class", ClassView.as_view()),
    path("orm", orm),
    path("rolled_back", rolled_back),
    path("atomic", atomic_view),
    path("sessions", sessions),
    path("async_sessions", async_sessions),
    path("login", login),
    path("signals", signals),
    path("caching", caching),
    path("stream", stream),
    path("async_stream", async_stream),
    path("gathered", gathered),
    path("error", error),
]
PATHS = [f"/{pattern.pattern}" for pattern in urlpatterns]


class Echo(WebsocketConsumer):
    def connect(self) -> None:
        self.accept()

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        count = User.objects.filter(username="nobody").count()
        self.send(text_data=f"{text_data} {count} {in_loop()}")


class Room(AsyncJsonWebsocketConsumer):
    async def connect(self) -> None:
        await self.channel_layer.group_add("room", self.channel_name)
        await self.accept()

    async def receive_json(self, content: Any, **_: Any) -> None:
        count = await database_sync_to_async(User.objects.filter(username="nobody").count)()
        await self.channel_layer.group_send("room", {"type": "said", "text": [content, count]})

    async def said(self, event: Any) -> None:
        await self.send_json(event["text"])

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard("room", self.channel_name)


class Page(AsyncHttpConsumer):
    async def handle(self, body: bytes) -> None:
        await self.send_response(200, b"of a consumer: " + body, headers=[(b"content-type", b"text/plain")])


class Job(SyncConsumer):
    done: ClassVar[list[Any]] = []

    def work(self, message: Any) -> None:
        self.done.append((message["number"], in_loop()))
        async_to_sync(self.channel_layer.send)("answers", {"type": "answer", "number": message["number"] + 1})


application = get_asgi_application()
wsgi_application = get_wsgi_application()
channels_application = ProtocolTypeRouter(
    {
        "http": URLRouter(
            [path("page", Page.as_asgi()), path("<path:rest>", application), path("", application)]
        ),
        "websocket": SessionMiddlewareStack(
            URLRouter([path("echo", Echo.as_asgi()), path("room", Room.as_asgi())])
        ),
        "channel": ChannelNameRouter({"jobs": Job.as_asgi()}),
    }
)
