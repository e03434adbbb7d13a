"""Status lines: ``"404 Not Found"`` in WSGI, 404 in ASGI."""

import re
from functools import lru_cache

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
