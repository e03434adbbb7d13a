"""The adapters as the tests have them: with the validator for ASGI between them and the other side.

Each breach of a rule is logged as well, whoever swallows the error: the test fails (conftest.py), or finds it
in the output of its server.
"""

import logging
from collections.abc import Collection
from typing import Any

import asgiadapt
from asgiadapt._sansio.validation import RULES
from asgiadapt.validate import validator
from tests.processes import BREACH

OF_SERVERS = frozenset(name for name, rule in RULES.items() if rule.side == "server")
OF_APPLICATIONS = frozenset(RULES) - OF_SERVERS

_handler = logging.StreamHandler()
_handler.setFormatter(logging.Formatter(f"{BREACH} %(message)s"))
logging.getLogger("asgiadapt.validate").addHandler(_handler)


class WsgiToAsgi(asgiadapt.WsgiToAsgi):
    """The adapter is the application, and has to keep all rules of that side.

    *ignore* has those of servers that the test breaks on purpose. Without *validated* there is no validator,
    for what that takes away from the adapter.
    """

    def __init__(
        self, app: Any, *, ignore: Collection[str] = (), validated: bool = True, **options: Any
    ) -> None:
        assert OF_SERVERS.issuperset(ignore)
        super().__init__(app, **options)
        self._ignored = ignore
        self._validated = validated

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        app = super().__call__
        if self._validated:
            app = validator(app, ignore=self._ignored)
        await app(scope, receive, send)


class AsgiToWsgi(asgiadapt.AsgiToWsgi):
    """The adapter is the server, and has to keep all rules of that side; applications may break theirs.

    *ignore* has those that it breaks where the WSGI server of the test does wrong. Without *validated* there
    is no validator, for applications that it would make others of.
    """

    def __init__(
        self, app: Any, *, ignore: Collection[str] = (), validated: bool = True, **options: Any
    ) -> None:
        assert OF_SERVERS.issuperset(ignore)
        super().__init__(app, **options)
        if validated:
            self._app = validator(self._app, ignore=OF_APPLICATIONS.union(ignore))
