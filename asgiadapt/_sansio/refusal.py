"""Requests that the adapter answers itself, without calling the application."""

from typing import Any

PHRASES = {
    400: "Bad Request",
    408: "Request Timeout",
    413: "Content Too Large",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}


class Refusal(Exception):
    """The request gets *status* and *text* instead of the application's answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status} {PHRASES[status]}: {text}")
        self.status = status
        self.text = text


def refusal_response(refusal: Refusal, method: str) -> tuple[str, list[tuple[str, str]], list[bytes]]:
    """Status line, headers and body of a WSGI response to a request with *refusal*."""
    body = _page(refusal)
    fields = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    return f"{refusal.status} {PHRASES[refusal.status]}", fields, [] if method == "HEAD" else [body]


def _page(refusal: Refusal) -> bytes:
    return f"{refusal.status} {PHRASES[refusal.status]}: {refusal.text}\n".encode()


def refusal_events(
    refusal: Refusal, method: str, headers: list[tuple[bytes, bytes]] | None = None
) -> list[dict[str, Any]]:
    """The two events that answer a request with *refusal*; the text is left out for HEAD."""
    body = _page(refusal)
    fields = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        *(headers or ()),
    ]
    return [
        {"type": "http.response.start", "status": refusal.status, "headers": fields},
        {
            "type": "http.response.body",
            "body": b"" if method == "HEAD" else body,
            "more_body": False,
        },
    ]
