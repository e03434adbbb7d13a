"""Why steps go wrong that go wrong without an adapter, too: what `run.py` blames, in words."""

from fnmatch import fnmatch
from typing import NamedTuple


class Reason(NamedTuple):
    subjects: str  # patterns for names of servers or applications, apart by spaces
    steps: str  # apart by commas
    text: str
    race: bool = False  # with some applications the server is lucky

    def is_for(self, subject: str, step: str) -> bool:
        names = [name.strip() for name in self.steps.split(",")]
        return step in names and any(fnmatch(subject, pattern) for pattern in self.subjects.split())


REASONS = [
    # ASGI servers
    Reason(
        "hypercorn-*-h3 hypercorn-*-h3?unread hypercorn-*-h3?without?the?end",
        "unread upload, chunked upload, upload with a length, keep-alive, pipelining, compression",
        "hypercorn stops to listen for HTTP/3 when more of a body comes after the answer to it.",
    ),
    Reason(
        "hypercorn-*-h3",
        "cut in the upload, cut while waiting",
        "hypercorn does not tell the application of a stream of HTTP/3 that the client has reset.",
    ),
    Reason(
        "hypercorn-trio-h2*",
        "unread upload, chunked upload",
        "hypercorn on trio ends, by a `KeyError`, when more of a body comes over HTTP/2 after the answer.",
        race=True,
    ),
    Reason(
        "daphne*",
        "cut in the upload",
        "daphne reads a body to its end before it calls the application.",
    ),
    Reason(
        "daphne", "huge head", "daphne cuts the connection at a field of more than 16 KB, without an answer."
    ),
    # WSGI servers
    Reason(
        "gunicorn-sync",
        "keep-alive, pipelining",
        "gunicorn's sync worker closes the connection after each response.",
    ),
    Reason("gunicorn-sync wsgiref", "slow requests together", "The server takes one request at a time."),
    Reason(
        "waitress nginx-waitress",
        "cut in the upload",
        "waitress reads a body to its end before it calls the application.",
    ),
    Reason(
        "waitress?without?a?length",
        "keep-alive, pipelining",
        "waitress closes the connection after a response without a `Content-Length`.",
    ),
    Reason(
        "werkzeug", "keep-alive, pipelining", "Werkzeug's server closes the connection after each response."
    ),
    Reason(
        "werkzeug gevent wsgiref*",
        "cut in the head",
        "The server takes a head that breaks off for a whole one, and calls the application.",
    ),
    Reason("uwsgi", "keep-alive, pipelining", "uWSGI closes the connection after each response."),
    Reason("uwsgi", "chunked upload", "uWSGI leaves a body in chunks to the application."),
    Reason("uwsgi", "expect-continue", "uWSGI does not answer `Expect: 100-continue`."),
    Reason(
        "uwsgi nginx-uwsgi",
        "huge head",
        "uWSGI cuts the connection at a head of more than 4 KB, or of `--buffer-size`, without an answer.",
    ),
    Reason(
        "nginx-uwsgi nginx-uwsgi?without?a?length",
        "unread upload",
        "uWSGI leaves nginx before the body is read; where nginx still sends it, the answer is lost.",
        race=True,
    ),
    Reason("wsgiref*", "keep-alive, pipelining", "wsgiref speaks HTTP/1.0."),
    Reason("wsgiref*", "chunked upload", "wsgiref leaves a body in chunks to the application."),
    Reason("wsgiref*", "expect-continue", "wsgiref does not answer `Expect: 100-continue`."),
    # Applications
    Reason("wsgi_django", "chunked upload", "Django reads no body without a `Content-Length`, as WSGI."),
    Reason(
        "wsgi_wsgidav",
        "cut in the upload",
        "WsgiDAV leaves its file open when the upload raises.",
    ),
    Reason("asgi_quart", "range", "Quart answers with 500 when the last bytes are asked for."),
    Reason(
        "asgi_django",
        "cut in the upload",
        "Django, as ASGI, reads a body to its end before it calls the view.",
    ),
    Reason(
        "asgi_django",
        "cut in the download",
        "Django leaves the generator to the garbage collector when `send()` raises, as ASGI 2.4 has it.",
    ),
    Reason(
        "asgi_sanic asgi_falcon",
        "cut in the upload",
        "The framework takes the body for whole when the client leaves in its midst.",
    ),
    Reason(
        "asgi_asgineer",
        "cookies",
        "Asgineer has its headers in a dictionary, and so one cookie in a response.",
    ),
]


def reason_for(subject: str, step: str) -> Reason | None:
    return next((reason for reason in REASONS if reason.is_for(subject, step)), None)
