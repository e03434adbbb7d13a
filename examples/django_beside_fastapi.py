"""A Django project below /shop, beside the asynchronous routes of FastAPI.

python examples/django_beside_fastapi.py [PORT]      or: uvicorn --app-dir examples django_beside_fastapi:app
"""

import asyncio
import secrets
import sys

import django
import uvicorn
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template import Context, Engine
from django.urls import path, reverse
from fastapi import FastAPI

from asgiadapt import WsgiToAsgi

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Django beside FastAPI</title>
<link rel="icon" href="data:,">
<style>:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif } body { margin: 2rem }</style>
<h1>The shop</h1>
<p>In your basket: {{ count }}. <a href="{{ add }}">One more</a>, or <a href="/api/stock">the stock</a> as
FastAPI tells it.</p>
"""


def index(request: HttpRequest) -> HttpResponse:
    values = {"count": request.session.get("count", 0), "add": reverse("add")}
    return HttpResponse(Engine().from_string(PAGE).render(Context(values)))


def add(request: HttpRequest) -> HttpResponse:
    request.session["count"] = request.session.get("count", 0) + 1
    return HttpResponseRedirect(reverse("index"))  # has the prefix: Django finds it in SCRIPT_NAME


urlpatterns = [path("", index, name="index"), path("add", add, name="add")]

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

app = FastAPI()


@app.get("/api/stock")
async def stock() -> dict[str, int]:
    await asyncio.sleep(0.1)  # the loop serves others in the meantime
    return {"apples": 3, "pears": 5}


app.mount("/shop", WsgiToAsgi(get_wsgi_application()))

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
