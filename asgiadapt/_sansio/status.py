"""Status lines: ``"404 Not Found"`` in WSGI, 404 in ASGI."""

import re
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from asgiadapt._errors import ApplicationTypeError, ApplicationValueError

_LINE = re.compile(r"[0-9]{3}(?: [^\x00-\x1f\x7f]*)?")


def status_from_line(line: str) -> int:
    """The code in a status line; the phrase, which may be missing, is checked and dropped."""
    if not isinstance(line, str):
        raise ApplicationTypeError(
            f"start_response was given the status {line!r}, a {type(line).__name__}; "
            f"give a str such as '200 OK'."
        )
    return _code(line)


# Applications use few status lines, and each of them many times.
@lru_cache(maxsize=256)
def _code(line: str) -> int:
    if _LINE.fullmatch(line) is None:
        raise ApplicationValueError(
            f"start_response was given the status {line!r}, which is not a status line; give three "
            f"digits, a space and a phrase without control characters, such as '200 OK'."
        )
    code = int(line[:3])
    if code < 200:
        raise ApplicationValueError(
            f"start_response was given the status {line!r}, but a status under 200 is an interim "
            f"response, which does not end a request; give the final status. For early hints call "
            f"environ['wsgi.early_hints']."
        )
    return code


def line_from_status(status: Any) -> str:
    """The status line of a code; the phrase is the registered one, or ``Unknown``."""
    if type(status) is not int:
        if not isinstance(status, int) or isinstance(status, bool):
            raise ApplicationTypeError(
                f"http.response.start has the status {status!r}, a {type(status).__name__}; give an int such "
                f"as 200."
            )
        status = int(status)  # of an enum
    return _line(status)


@lru_cache(maxsize=256)
def _line(code: int) -> str:
    if not 200 <= code <= 999:
        raise ApplicationValueError(
            f"http.response.start has the status {code}; give one from 200 to 999. A status under 200 is an "
            f"interim response, which does not end a request, and WSGI cannot switch protocols."
        )
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return f"{code} Unknown"
