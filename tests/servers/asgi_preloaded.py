"""The application of the rows, which has served a request already where it was imported, before a fork."""

from typing import Any
from wsgiref.util import setup_testing_defaults

from tests.servers.asgi_rows import rows as application

environ: dict[str, Any] = {"PATH_INFO": "/process"}
setup_testing_defaults(environ)
result = application(environ, lambda status, headers: None)
assert b"".join(result) == b"own"
result.close()
