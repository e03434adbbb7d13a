"""The same site in six ASGI frameworks, each below a prefix of its own; as WSGI, for the real servers."""

import gc
from typing import Any

from tests.servers import (
    asgi_asgineer,
    asgi_django,
    asgi_fastapi,
    asgi_quart,
    asgi_sanic,
    asgi_starlette,
)
from tests.validated import AsgiToWsgi

SITES = {
    "starlette": AsgiToWsgi(asgi_starlette.app),
    "fastapi": AsgiToWsgi(asgi_fastapi.app),
    "quart": AsgiToWsgi(asgi_quart.app),
    "django": AsgiToWsgi(asgi_django.app),
    "sanic": AsgiToWsgi(asgi_sanic.app),
    "asgineer": AsgiToWsgi(asgi_asgineer.app),
}


def site(environ: dict[str, Any], start_response: Any) -> Any:
    """The site of the framework that the path begins with. Shifts the prefix, as a mount does."""
    if environ["PATH_INFO"] == "/collect":
        gc.collect()
        start_response("204 No Content", [])
        return []
    _, name, rest = environ["PATH_INFO"].split("/", 2)
    environ["SCRIPT_NAME"] += f"/{name}"
    environ["PATH_INFO"] = f"/{rest}"
    return SITES[name](environ, start_response)


application = site  # what mod_wsgi asks for
