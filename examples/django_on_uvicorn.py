"""A Django application of one file, served through its WSGI side.

uvicorn --app-dir examples django_on_uvicorn:app
"""

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

from asgiadapt import WsgiToAsgi


def index(request: HttpRequest) -> HttpResponse:
    visits = request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse(f"visit {visits}\n")


def count(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse((f"{number}\n" for number in range(5)), content_type="text/plain")


urlpatterns = [path("", index), path("count", count)]

settings.configure(
    ALLOWED_HOSTS=["*"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="only for this example",
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
)
django.setup()

app = WsgiToAsgi(get_wsgi_application())
