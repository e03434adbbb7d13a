"""``asgiref.testing``: `asgiadapt.testing.ApplicationCommunicator`, for applications of ASGI 2 too."""

from typing import Any

import asgiadapt.testing
from asgiadapt.compat.asgiref.compatibility import guarantee_single_callable

__all__ = ["ApplicationCommunicator", "guarantee_single_callable"]


class ApplicationCommunicator(asgiadapt.testing.ApplicationCommunicator):
    """Runs *application* with *scope*, from the first message on, in an empty context."""

    def __init__(self, application: Any, scope: Any) -> None:
        super().__init__(guarantee_single_callable(application), scope)
