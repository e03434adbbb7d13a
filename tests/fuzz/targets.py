"""The fuzz targets by name, and the inputs that are kept for each.

A target is a function of bytes: they choose what happens, and it raises where something is not as the
specifications have it. ``corpus/NAME.txt`` has inputs, one a line in hex, which come into every corner that
any input has come into; ``findings/NAME`` has those that have found something, each in a file.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from tests.fuzz.asgi_exchange import asgi_exchange
from tests.fuzz.bodies import asgi_receive, wsgi_input
from tests.fuzz.heads import environ, scope
from tests.fuzz.responses import asgi_response, wsgi_response
from tests.fuzz.wsgi_exchange import wsgi_exchange

TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    target.__name__: target
    for target in (
        environ,
        scope,
        wsgi_input,
        asgi_receive,
        wsgi_response,
        asgi_response,
        wsgi_exchange,
        asgi_exchange,
    )
}
HERE: Final = Path(__file__).parent


def findings(name: str) -> Path:
    return HERE / "findings" / name


def corpus(name: str) -> list[bytes]:
    """What is kept for the target: inputs and findings."""
    kept = HERE / "corpus" / f"{name}.txt"
    inputs = [bytes.fromhex(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    return inputs + [path.read_bytes() for path in sorted(findings(name).glob("*"))]


def keep(name: str, inputs: Iterable[bytes]) -> None:
    """Let the corpus be *inputs*, shortest first."""
    lines = [data.hex() for data in sorted(set(inputs), key=lambda data: (len(data), data))]
    (HERE / "corpus").mkdir(exist_ok=True)
    (HERE / "corpus" / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
