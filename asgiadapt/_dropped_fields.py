"""Says which header fields of an application's are left out, once for each name."""

import logging

_log = logging.getLogger("asgiadapt")
_warned: set[str] = set()


def warn_of_dropped(names: tuple[str, ...]) -> None:
    """*names* belong to the connection and not to the response."""
    for name in names:
        if name.lower() not in _warned:
            _warned.add(name.lower())
            _log.warning(
                "The application sets the header %r, which belongs to the connection and is left to the "
                "server (PEP 3333, 'Other HTTP Features'). It is dropped here and from now on.",
                name,
            )
