"""The site in six ASGI frameworks on every real WSGI server, talked to as clients do."""

import contextlib
import hashlib
import importlib.util
import os
import shutil
import socket
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import httpx
import pytest

from tests.processes import ROOT, Program, free_port, program
from tests.servers.asgi_common import FRAMEWORKS, LINES

pytestmark = pytest.mark.server

WERKZEUG = "from werkzeug.serving import run_simple; run_simple('127.0.0.1', {port}, {app}, threaded=True)"
WSGIREF = (
    "from wsgiref.simple_server import make_server; make_server('127.0.0.1', {port}, {app}).serve_forever()"
)
WSGIREF_THREADS = """\
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIServer, make_server
class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
make_server('127.0.0.1', {port}, {app}, Server).serve_forever()"""
# gevent's way to end: Ctrl-C, once in a while, is lost in its loop.
PYWSGI = (
    "import gevent, signal; from gevent.pywsgi import WSGIServer;"
    " server = WSGIServer(('127.0.0.1', {port}), {app});"
    " gevent.signal_handler(signal.SIGTERM, server.stop); server.serve_forever()"
)
GUNICORN = ("-m", "gunicorn", "--no-control-socket", "-b", "127.0.0.1:{port}", "{module}:{app}")


def imported(code: str, first: str = "") -> tuple[str, str]:
    return "-c", f"{first}from {{module}} import {{app}}\n{code}"


# name: the command, and what the server does not have.
#   chunked uploads: wsgiref and uWSGI leave the chunks to the application.
#   streamed uploads: waitress has the whole body before it calls the application.
#   errors: uWSGI closes the connection where the application fails, and sends no 500.
#   exit: granian's workers end without what is registered with atexit.
#   keep-alive: wsgiref speaks HTTP/1.0, and some close each connection; waitress keeps those alone whose
#       response has a length.
#   cutting off: a response in chunks, or in none, ends as if it were whole where the application fails.
WSGIREF_LACKS = {"chunked uploads", "continue", "cutting off", "early hints", "keep-alive"}
GUNICORN_SYNC_LACKS = frozenset({"threads", "keep-alive"})
SERVERS: dict[str, tuple[tuple[str, ...], frozenset[str]]] = {
    "gunicorn-sync": ((*GUNICORN, "-k", "sync"), GUNICORN_SYNC_LACKS),
    "gunicorn-preload": ((*GUNICORN, "-k", "sync", "--preload"), GUNICORN_SYNC_LACKS),
    "gunicorn-gthread": ((*GUNICORN, "-k", "gthread", "--threads", "8"), frozenset()),
    "gunicorn-gevent": ((*GUNICORN, "-k", "gevent"), frozenset()),
    "waitress": (
        ("-m", "waitress", "--host", "127.0.0.1", "--port", "{port}", "{module}:{app}"),
        frozenset({"early hints", "keep-alive without a length", "streamed uploads"}),
    ),
    "werkzeug": (imported(WERKZEUG), frozenset({"early hints", "file wrapper", "keep-alive"})),
    "wsgiref": (imported(WSGIREF), frozenset({*WSGIREF_LACKS, "threads"})),
    "wsgiref-threads": (imported(WSGIREF_THREADS), frozenset(WSGIREF_LACKS)),
    "cheroot": (
        ("-m", "cheroot", "--bind", "127.0.0.1:{port}", "{module}:{app}"),
        frozenset({"early hints", "file wrapper"}),
    ),
    "gevent": (
        imported(PYWSGI, "from gevent import monkey; monkey.patch_all()\n"),
        frozenset({"early hints", "file wrapper"}),
    ),
    "granian": (
        (
            *("-m", "granian", "--interface", "wsgi", "--blocking-threads", "8"),
            *("--host", "127.0.0.1", "--port", "{port}", "{module}:{app}"),
        ),
        frozenset({"cutting off", "early hints", "exit", "file wrapper"}),
    ),
}
if importlib.util.find_spec("pyuwsgi"):
    UWSGI_LACKS = frozenset(
        {"chunked uploads", "continue", "cutting off", "early hints", "errors", "keep-alive"}
    )
    SERVERS["uwsgi"] = (
        (
            *("-c", "import pyuwsgi, sys; pyuwsgi.run(sys.argv[1:])"),
            *("--http-socket", "127.0.0.1:{port}", "--module", "{module}:{app}", "--need-app"),
            *("--master", "--threads", "4", "--die-on-term", "--no-orphans"),
            *("--stats", "@asgiadapt-{port}"),
        ),
        UWSGI_LACKS,
    )
# Debian's mod_wsgi runs the system's own Python, which can use our packages where it has our version.
MODULES = Path("/usr/lib/apache2/modules")
if (
    shutil.which("apache2")
    and (MODULES / f"mod_wsgi.so-{sys.version_info[0]}.{sys.version_info[1]}").exists()
):
    run = "import os, sys; os.execvp('apache2', ['apache2', '-f', '{folder}/apache.conf', '-DFOREGROUND'])"
    SERVERS["apache"] = (("-c", run), frozenset({"cutting off", "early hints"}))

APACHE = """\
ServerRoot {folder}
Listen 127.0.0.1:{port}
ServerName localhost
PidFile {folder}/pid
ErrorLog /proc/self/fd/2
Mutex file:{folder} default
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule wsgi_module {modules}/mod_wsgi.so
User www-data
Group www-data
KeepAliveTimeout 1
WSGISocketPrefix {folder}/wsgi
WSGIDaemonProcess t processes=1 threads=4 python-path={root}:{packages}
WSGIScriptAlias / {folder}/script.py process-group=t application-group=%{{GLOBAL}}
WSGIChunkedRequest On
AllowEncodedSlashes On
<Directory {folder}>
    Require all granted
</Directory>
"""


@contextlib.contextmanager
def serving(server: str, module: str, app: str, **environment: str) -> Iterator[Program]:
    """The callable *app* of *module* on *server*."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        known = {"port": port, "module": module, "app": app, "folder": folder}
        if server == "apache":
            os.chmod(folder, 0o755)  # it gives up being root
            conf = APACHE.format(
                **known, modules=MODULES, root=ROOT, packages=sysconfig.get_paths()["purelib"]
            )
            Path(folder, "apache.conf").write_text(conf)
            Path(folder, "script.py").write_text(f"from {module} import {app} as application\n")
        parts = [part.format(**known) for part in SERVERS[server][0]]
        with program(*parts, port=port, path=str(ROOT), **environment) as running:
            yield running


def browser(url: str) -> httpx.Client:
    # Without keep-alive: uWSGI closes each connection and does not say so. Without certificates, which take
    # their time to load.
    return httpx.Client(
        base_url=url, timeout=20, verify=False, limits=httpx.Limits(max_keepalive_connections=0)
    )


def needs(*features: str) -> pytest.MarkDecorator:
    """Marks a test as one for servers and frameworks with *features*; conftest.py leaves out the others."""
    return pytest.mark.needs(*features)


class Gate:
    """The test's end of what tests/servers/asgi_common.py calls the gate."""

    def __init__(self, patience: float = 20) -> None:
        self._patience = patience
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(patience)
        self.port = self._listener.getsockname()[1]
        self._connection: socket.socket | None = None

    def __enter__(self) -> "Gate":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        if self._connection is not None:
            self._connection.close()

    @property
    def connection(self) -> socket.socket:
        """The application's next, at first use."""
        if self._connection is None:
            self._connection, _ = self._listener.accept()
            self._connection.settimeout(self._patience)
        return self._connection

    def go(self) -> None:
        self.connection.sendall(b"!")

    def word(self) -> str:
        """The next thing that the application says."""
        word = b""
        while not word.endswith(b"\n"):
            piece = self.connection.recv(1)
            assert piece, f"the application left after {word!r}"
            word += piece
        return word.decode().strip()

    def words(self) -> list[str]:
        """What the application says until it leaves."""
        with self.connection.makefile(encoding="utf-8") as told:
            return told.read().split()

    def is_left(self) -> bool:
        """Whether the application leaves before long."""
        self.connection.settimeout(0.1)
        try:
            return not self.connection.recv(1)
        except TimeoutError:
            return False


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Program]:
    with serving(request.param, "tests.servers.wsgi_sites", "site") as running:
        yield running


# name: what the framework does not have
LACKING = {
    "django": {"lifespan"},
    "asgineer": {"lifespan", "several cookies"},
}


@pytest.fixture(params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def client(server: Program, framework: str) -> Iterator[httpx.Client]:
    with browser(f"{server.url}/{framework}") as client:
        yield client


@pytest.fixture(autouse=True)
def _no_trouble(server: Program) -> Iterator[None]:
    """The server's output has no traceback, but where the test has forgiven it."""
    yield
    try:
        server.check_output()
    finally:
        server.forgive()  # one test's trouble is not the next one's


CONTENT = bytes(range(251)) * 400
FACTS = {"size": len(CONTENT), "digest": hashlib.sha256(CONTENT).hexdigest()}


def test_small_pages(client: httpx.Client, framework: str) -> None:
    """A page, its head alone, a redirect below the prefix, one that isn't there, names outside ASCII."""
    assert client.get("/").text == "index"
    head = client.head("/")
    assert (head.status_code, head.content) == (200, b"")
    assert client.get("/nowhere").status_code == 404
    redirect = client.get("/redirect")
    assert redirect.status_code in {302, 303}
    assert client.base_url.join(redirect.headers["location"]).path == f"/{framework}/"
    assert client.get("/redirect", follow_redirects=True).text == "index"
    assert client.get("/caf\u00e9/\u00fc", params={"q": "\u20ac"}).text == "\u00fc \u20ac"


def test_a_form(client: httpx.Client) -> None:
    """Its fields arrive, whatever is in them."""
    assert client.post("/form", data={"a": "\u00e9", "b": "2 & 3"}).json() == {"a": "\u00e9", "b": "2 & 3"}


def test_uploads_with_a_length(client: httpx.Client) -> None:
    """A file in a form, a bare body, and a body that is empty arrive whole."""
    assert client.post("/upload", files={"file": CONTENT}).json() == FACTS
    assert client.post("/raw", content=CONTENT).json() == FACTS
    assert client.post("/raw", content=b"").json()["size"] == 0


@needs("chunked uploads")
def test_an_upload_in_chunks(client: httpx.Client) -> None:
    """The application gets what came before and behind the boundaries."""
    pieces = (CONTENT[start : start + 7777] for start in range(0, len(CONTENT), 7777))
    assert client.post("/raw", content=pieces).json() == FACTS


def test_cookies(client: httpx.Client) -> None:
    """Two come in one line of the request."""
    answer = client.get("/cookies", headers={"Cookie": "visits=3; other=x"})
    assert answer.text == "4 x"
    assert answer.headers.get_list("set-cookie")[0].startswith("visits=4")


@needs("several cookies")
def test_two_cookies_in_a_response(client: httpx.Client) -> None:
    """They leave in two lines, in their order."""
    answer = client.get("/cookies", headers={"Cookie": "visits=3; other=x"})
    pairs = [line.partition(";")[0] for line in answer.headers.get_list("set-cookie")]
    assert pairs == ["visits=4", "other=1"]


def test_a_stream_arrives_whole(client: httpx.Client) -> None:
    """Many pieces, in order."""
    assert client.get("/stream").text == "".join(f"{number}\n" for number in range(LINES))


def test_an_event_leaves_before_the_next_is_made(client: httpx.Client) -> None:
    """The second event is made only after the client, which has the first, says so."""
    with Gate() as gate, client.stream("GET", "/events", params={"gate": gate.port}) as events:
        lines = events.iter_lines()
        assert next(lines) == "data: one"
        gate.go()
        assert [line for line in lines if line] == ["data: two"]


def test_background_work_goes_on_after_the_response(client: httpx.Client) -> None:
    """The client has its whole response, and the next one, before the work may end."""
    with Gate() as gate:
        assert client.get("/background", params={"gate": gate.port}).text == "answered"
        assert client.get("/").text == "index"
        gate.go()
        assert gate.words() == ["done"]


def test_a_stream_ends_when_its_client_leaves(client: httpx.Client, server: Program, framework: str) -> None:
    """The application's generator is closed, and the server goes on."""
    with Gate() as gate:
        with client.stream("GET", "/endless", params={"gate": gate.port}) as endless:
            assert next(endless.iter_raw())
        if framework == "django":
            # It leaves the generator to the garbage collector, with the error that send() has raised.
            deadline = time.monotonic() + 20
            while not gate.is_left():
                assert time.monotonic() < deadline
                httpx.get(f"{server.url}/collect")
        else:
            assert gate.words() == []
    assert client.get("/").text == "index"
    if framework in {"sanic", "asgineer"}:
        server.forgive()  # they log every error that send() raises


@needs("lifespan")
def test_requests_see_what_start_up_made(client: httpx.Client) -> None:
    """On the loop that start-up ran on."""
    assert client.get("/state").json() == {"started": True, "same_loop": True}


def test_an_application_error_is_a_500_and_no_more(client: httpx.Client, server: Program) -> None:
    """The next request is answered as ever."""
    assert client.get("/error").status_code == 500
    assert client.get("/").text == "index"
    server.forgive()  # frameworks log what a view lets out
