"""A Django application of one file, served through its WSGI side.

python examples/django_on_uvicorn.py [PORT]      or: uvicorn --app-dir examples django_on_uvicorn:app
"""

import secrets
import sys
from collections.abc import Iterator

import django
import uvicorn
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.template import Context, Engine
from django.urls import path

from asgiadapt import WsgiToAsgi

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Django on uvicorn</title>
<link rel="icon" href="data:,">
<style>:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif } body { margin: 2rem }</style>
<h1>Django on uvicorn</h1>
<p>This is your visit number {{ visits }}; <a href="/count">a page that streams</a>.</p>
"""


def index(request: HttpRequest) -> HttpResponse:
    visits = request.session["visits"] = request.session.get("visits", 0) + 1
    template = Engine().from_string(PAGE)
    return HttpResponse(template.render(Context({"visits": visits})))


def count(request: HttpRequest) -> StreamingHttpResponse:
    # A synchronous iterator is right here: each of its steps runs on a worker thread.
    def lines() -> Iterator[str]:
        for number in range(5):
            yield f"{number}\n"

    return StreamingHttpResponse(lines(), content_type="text/plain")


urlpatterns = [path("", index), path("count", count)]

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
    ],
    ROOT_URLCONF=__name__,
    SECRET_KEY=secrets.token_urlsafe(50),
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
)
django.setup()

app = WsgiToAsgi(get_wsgi_application())

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
