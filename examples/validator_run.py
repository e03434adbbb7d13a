"""An application with three mistakes, called behind the validator, and the same application mended.

python examples/validator_run.py
"""

import asyncio
import logging
from typing import Any

from asgiadapt.testing import AsgiClient
from asgiadapt.validate import AsgiViolation

# The validator logs what it raises, on asgiadapt.validate. Here it is printed, which is enough.
logging.getLogger("asgiadapt.validate").addHandler(logging.NullHandler())

PAGES = {"/": "index", "/caf\u00e9": "caf\u00e9", "/empty": ""}


async def careless(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Most servers let much of this pass, and each something else."""
    text = PAGES[scope["path"]]
    headers = [(b"Content-Type", b"text/plain")] if text == "index" else []
    headers.append((b"content-length", str(len(text)).encode()))  # characters, and not bytes
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if text:
        await send({"type": "http.response.body", "body": text.encode()})


async def mended(scope: dict[str, Any], receive: Any, send: Any) -> None:
    body = PAGES[scope["path"]].encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def try_out(app: Any) -> None:
    client = AsgiClient(app, validate=True)
    print(f"{app.__name__}:")
    for path in PAGES:
        try:
            answer = await client.request("GET", path)
            print(f"  {path} is {answer.status} {answer.text!r}")
        except AsgiViolation as violation:
            print(f"  {path} breaks {violation.rule}, the fault of the {violation.side}:")
            print(f"    {violation}")


async def main() -> None:
    await try_out(careless)
    await try_out(mended)


if __name__ == "__main__":
    asyncio.run(main())
