"""Every exception that asgiadapt raises itself.

Each class says whose fault it is, and inherits from the builtin that people catch already. The text of
an error says what happened, why it cannot go on, and what to do.
"""


class ApplicationError(Exception):
    """The wrapped application broke the rules of its interface (PEP 3333, or ASGI).

    Raised inside the application where that is possible (from ``start_response`` and ``write``, or from
    ``send``), otherwise out of the call of the adapter, so that the server logs it.
    """


class ApplicationOrderError(ApplicationError, RuntimeError):
    """The application did something at a point where it may not be done."""


class ApplicationTypeError(ApplicationError, TypeError):
    """The application gave an object of the wrong type."""


class ApplicationValueError(ApplicationError, ValueError):
    """The application gave a value that cannot stand in a response."""


class ServerError(RuntimeError):
    """The server around the adapter broke the rules of its interface (ASGI, or PEP 3333)."""


class ClientDisconnected(ConnectionError):
    """The client has gone: what is read would be incomplete, what is written would reach nobody.

    Raised in a WSGI application out of ``wsgi.input`` and ``write``, in an ASGI application out of ``send``.
    Being an ``OSError``, it is taken by the frameworks for what it is.
    """


class ClientTimeout(TimeoutError):
    """The client neither sent nor took a byte for as long as *receive_timeout* or *send_timeout* allows."""


class RequestTooLarge(OSError):
    """The request body has more bytes than *max_body_size* allows."""


class PoolFull(RuntimeError):
    """All threads of the pool are busy and as many jobs as allowed are waiting already."""


class PoolClosed(RuntimeError):
    """The pool was closed, and takes no more jobs."""


class DeadlockError(RuntimeError):
    """The call would wait for the thread that makes it, and so for ever."""


class LoopStopped(RuntimeError):
    """The event loop on which async code was to run is closed, or was stopped before the code had ended."""


class StartupFailed(RuntimeError):
    """The start-up of an ASGI application has failed, so that it serves no requests. Has its message."""
