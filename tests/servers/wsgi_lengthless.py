"""The plain site, whose answers have no Content-Length, as those of some frameworks."""

from collections.abc import Iterable
from typing import Any

from tests.servers import wsgi_plain


def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    def start(status: str, headers: list[tuple[str, str]]) -> Any:
        return start_response(status, [pair for pair in headers if pair[0] != "Content-Length"])

    # From a list of one piece servers learn the length all the same
    yield from wsgi_plain.app(environ, start)
