"""The ``asgi.py`` and ``wsgi.py`` of the project."""

import os

if os.environ.get("STAND_IN"):
    import asgiadapt

    asgiadapt.install_as_asgiref()

from tests.compat.sites.project import application, channels_application, wsgi_application  # noqa: F401
