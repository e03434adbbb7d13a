"""Lifespan: what may follow what."""

from collections.abc import Mapping
from typing import Any

from asgiadapt._errors import ServerError


def check_lifespan_event(event: Mapping[str, Any], due: str) -> None:
    """`ServerError` where *event* is not the one that is *due*: startup first, then shutdown."""
    if event["type"] != due:
        raise ServerError(
            f"the ASGI server gave the lifespan event {event['type']!r} where {due!r} was due; report "
            f"this to the server's authors."
        )
