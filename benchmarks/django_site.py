"""A Django site. Whoever imports it first has chosen what asgiref is."""

from typing import Any

import django
from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="of the benchmarks",
    INSTALLED_APPS=["django.contrib.contenttypes"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            # Each thread has a connection of its own, and sees the same tables.
            "NAME": "file:benchmarks?mode=memory&cache=shared",
            "CONN_MAX_AGE": None,
        }
    },
)
django.setup()

from django.contrib.contenttypes.models import ContentType  # noqa: E402  needs the settings
from django.core.management import call_command  # noqa: E402

call_command("migrate", verbosity=0)


def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse("hello")


async def coroutine(request: HttpRequest) -> HttpResponse:
    return HttpResponse("hello")


async def orm(request: HttpRequest) -> HttpResponse:
    count: Any = sync_to_async(ContentType.objects.count)
    for _ in range(3):
        await count()
    return HttpResponse("hello")


urlpatterns = [path("plain", plain), path("async", coroutine), path("orm", orm)]
asgi = get_asgi_application()
wsgi = get_wsgi_application()
