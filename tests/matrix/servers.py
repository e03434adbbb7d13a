"""The servers of the matrix, and how each is started; the applications, and what each is made with."""

import contextlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.processes import ROOT, Program, free_port, program
from tests.servers import test_servers, test_wsgi_servers


def is_missing(package: str) -> bool:
    return importlib.util.find_spec(package.replace("-", "_")) is None


@dataclass(frozen=True)
class Server:
    """A server as it is started, with the packages that have to be there for it."""

    name: str
    interface: str  # "asgi" or "wsgi"
    title: str
    packages: tuple[str, ...]
    command: str = ""  # for "python -m"; without it, it is one of tests/servers/test_wsgi_servers.py
    http: str = "1.1"
    send_raises: bool = False  # when the client has gone, as ASGI has it from 2.4 on

    @property
    def behind_nginx(self) -> bool:
        return self.name.startswith("nginx-")

    @property
    def missing(self) -> str | None:
        """What is not installed here."""
        for package in self.packages:
            if is_missing(package):
                return package
        if not self.command and self.name.removeprefix("nginx-") not in test_wsgi_servers.SERVERS:
            return self.title
        return "nginx" if self.behind_nginx and shutil.which("nginx") is None else None


KNOWN = {name: command for name, (command, _) in test_servers.SERVERS.items()}
HYPERCORN = "hypercorn -k {worker} --bind 127.0.0.1:{{port}}"
KEYS = "--certfile {keys}/cert.pem --keyfile {keys}/key.pem"
QUIC = "--quic-bind 127.0.0.1:{port}"
GUNICORN = "gunicorn --no-control-socket -b 127.0.0.1:{port}"
# daphne's way to say what hypercorn and granian have options for.
ENDPOINT = "ssl:{port}:interface=127.0.0.1:privateKey={keys}/key.pem:certKey={keys}/cert.pem"
GRANIAN_KEYS = "--ssl-certificate {keys}/cert.pem --ssl-keyfile {keys}/key.pem"

ASGI = [
    # name, title, HTTP, packages, command
    ("uvicorn-h11", "uvicorn, asyncio, h11", "1.1", "uvicorn", KNOWN["uvicorn-h11"]),
    (
        "uvicorn-httptools",
        "uvicorn, uvloop, httptools",
        "1.1",
        "uvicorn uvloop httptools",
        KNOWN["uvicorn-httptools"],
    ),
]
for worker in ("asyncio", "uvloop", "trio"):
    name, title, start = f"hypercorn-{worker}", f"hypercorn, {worker}", HYPERCORN.format(worker=worker)
    packages = f"hypercorn {worker}".removesuffix("asyncio")
    ASGI += [
        (name, title, "1.1", packages, f"{start} {{app}}"),
        (f"{name}-h2c", title, "2", packages, f"{start} {{app}}"),
        (f"{name}-h2", title, "2 with TLS", packages, f"{start} {KEYS} {{app}}"),
        (f"{name}-h3", title, "3", f"{packages} aioquic", f"{start} {KEYS} {QUIC} {{app}}"),
    ]
ASGI += [
    ("daphne", "daphne", "1.1", "daphne", KNOWN["daphne"]),
    ("daphne-h2", "daphne", "2 with TLS", "daphne h2 priority", f"daphne -e {ENDPOINT} {{app}}"),
    ("granian", "granian", "1.1", "granian", KNOWN["granian"]),
    ("granian-h2c", "granian", "2", "granian", KNOWN["granian"]),
    ("granian-h2", "granian", "2 with TLS", "granian", f"{KNOWN['granian']} {GRANIAN_KEYS}"),
    ("gunicorn-asgi", "gunicorn, asgi", "1.1", "gunicorn", f"{GUNICORN} -k asgi {{app}}"),
    (
        "gunicorn-uvicorn",
        "gunicorn, uvicorn's worker",
        "1.1",
        "gunicorn uvicorn-worker",
        f"{GUNICORN} -k uvicorn_worker.UvicornWorker {{app}}",
    ),
    (
        "nginx-uvicorn",
        "nginx, uvicorn",
        "1.1",
        "uvicorn uvloop httptools",
        KNOWN["uvicorn-httptools"],
    ),
    ("nginx-granian", "nginx, granian", "1.1", "granian", KNOWN["granian"]),
    ("nginx-hypercorn", "nginx, hypercorn", "1.1", "hypercorn", KNOWN["hypercorn-asyncio"]),
]
WSGI = [
    # name in tests/servers/test_wsgi_servers.py, title, packages
    ("gunicorn-sync", "gunicorn, sync", "gunicorn"),
    ("gunicorn-gthread", "gunicorn, gthread", "gunicorn"),
    ("gunicorn-gevent", "gunicorn, gevent", "gunicorn gevent"),
    ("waitress", "waitress", "waitress"),
    ("werkzeug", "Werkzeug", "werkzeug"),
    ("uwsgi", "uWSGI", "pyuwsgi"),
    ("apache", "Apache, mod_wsgi", ""),
    ("cheroot", "cheroot", "cheroot"),
    ("gevent", "gevent", "gevent"),
    ("granian", "granian", "granian"),
    ("wsgiref", "wsgiref", ""),
    ("wsgiref-threads", "wsgiref, threads", ""),
    ("nginx-gunicorn-gthread", "nginx, gunicorn, gthread", "gunicorn"),
    ("nginx-waitress", "nginx, waitress", "waitress"),
    ("nginx-uwsgi", "nginx, uWSGI", "pyuwsgi"),
]
SERVERS = [
    *[
        Server(name, "asgi", title, tuple(packages.split()), command, http)
        for name, title, http, packages, command in ASGI
    ],
    *[Server(name, "wsgi", title, tuple(packages.split())) for name, title, packages in WSGI],
]
# On these an application shows what it does by itself. They differ in what they tell of a client that has
# left: of the ASGI servers none lets send() raise, of the WSGI servers gevent's lets reads raise.
REFERENCES = [
    *[each for each in SERVERS if each.interface == "asgi" and each.name == "uvicorn-h11"],
    Server("uvicorn-h11-raising", "asgi", "uvicorn", ("uvicorn",), KNOWN["uvicorn-h11"], send_raises=True),
    *[each for each in SERVERS if each.interface == "wsgi" and each.name in ("gunicorn-gthread", "gevent")],
]

# Module of the site: its title, and the package.
APPLICATIONS = {
    "wsgi_flask": ("Flask", "flask"),
    "wsgi_django": ("Django", "django"),
    "wsgi_bottle": ("Bottle", "bottle"),
    "wsgi_pyramid": ("Pyramid", "pyramid"),
    "wsgi_falcon": ("Falcon", "falcon"),
    "wsgi_wsgidav": ("WsgiDAV", "wsgidav"),
    "asgi_starlette": ("Starlette", "starlette"),
    "asgi_fastapi": ("FastAPI", "fastapi"),
    "asgi_quart": ("Quart", "quart"),
    "asgi_django": ("Django", "django"),
    "asgi_sanic": ("Sanic", "sanic"),
    "asgi_asgineer": ("Asgineer", "asgineer"),
    "asgi_litestar": ("Litestar", "litestar"),
    "asgi_falcon": ("Falcon", "falcon"),
}

# What nobody can run here, and why.
LEFT_OUT = {
    "NGINX Unit": "It is in no package registry that pip or apt-get knows, and its project has ended.",
    "gunicorn, eventlet": "The worker is gone from gunicorn 26 on.",
}

NGINX = """\
daemon off;
pid {folder}/pid;
error_log stderr warn;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 0;
    gzip on;
    gzip_types text/plain;
    gzip_proxied any;
    gzip_min_length 1;
    upstream site {{
        server 127.0.0.1:{port};
        keepalive 4;
    }}
    server {{
        listen 127.0.0.1:{front};
        server_name localhost;
        location / {{
            {passed}
        }}
    }}
}}
"""
PROXIED = """\
            proxy_pass http://site;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_buffering off;
            proxy_request_buffering off;
"""
UWSGI = """\
            uwsgi_pass site;
            include /etc/nginx/uwsgi_params;
            uwsgi_param HTTP_HOST $host:$server_port;
            uwsgi_buffering off;
            uwsgi_request_buffering off;
"""


@contextlib.contextmanager
def serving(server: Server, environment: dict[str, str], keys: Path) -> Iterator[tuple[Program, int]]:
    """The application that the *environment* names, on this server: the program, and the port for clients."""
    module = "tests.matrix.served"
    with contextlib.ExitStack() as stack:
        if server.command or server.name == "nginx-uwsgi":
            port = free_port()
            command = ["-m", *server.command.format(port=port, app=f"{module}:app", keys=keys).split()]
            if not server.command:
                parts, _ = test_wsgi_servers.SERVERS["uwsgi"]
                command = [part.format(port=port, module=module, app="app") for part in parts]
                command[command.index("--http-socket")] = "--socket"
            running = stack.enter_context(program(*command, port=port, path=str(ROOT), **environment))
        else:
            name = server.name.removeprefix("nginx-")
            running = stack.enter_context(test_wsgi_servers.serving(name, module, "app", **environment))
        if not server.behind_nginx:
            yield running, running.port
            return
        front = free_port()
        folder = Path(environment["SITE_FOLDER"]) / "nginx"
        folder.mkdir(exist_ok=True)
        passed = UWSGI if server.name == "nginx-uwsgi" else PROXIED
        conf = NGINX.format(folder=folder, port=running.port, front=front, passed=passed.strip())
        (folder / "nginx.conf").write_text(conf)
        words = ["nginx", "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]
        start = f"import os; os.execvp('nginx', {words!r})"
        stack.enter_context(program("-c", start, port=front))
        yield running, front


def versions() -> dict[str, str]:
    """What is installed of all that the matrix runs, and of its clients."""
    packages = {package for server in SERVERS for package in server.packages}
    packages |= {package for _, package in APPLICATIONS.values()} | {"h2", "aioquic"}
    found = {"CPython": platform.python_version()}
    for package in sorted(packages, key=str.lower):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    for name, command, mark in [
        ("nginx", ["nginx", "-v"], "nginx/"),
        ("Apache", ["apache2", "-v"], "Apache/"),
    ]:
        if shutil.which(command[0]) is not None:
            told = subprocess.run(command, capture_output=True, text=True, check=True)
            found[name] = (told.stdout + told.stderr).partition(mark)[2].split()[0]
    if "apache" in test_wsgi_servers.SERVERS and shutil.which("dpkg-query"):
        query = ["dpkg-query", "-W", "-f", "${Version}", "libapache2-mod-wsgi-py3"]
        told = subprocess.run(query, capture_output=True, text=True, check=False)
        found["mod_wsgi"] = told.stdout.partition("-")[0]
    return found


def keys_in(folder: Path) -> None:
    """Make a key and a certificate for this machine's loopback."""
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    os.chmod(folder / "key.pem", 0o644)
