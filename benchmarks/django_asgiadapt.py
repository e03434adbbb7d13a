"""The Django site with what stands in for asgiref."""

import asgiadapt

asgiadapt.install_as_asgiref()

from benchmarks.django_site import asgi, wsgi  # noqa: E402  asgiref is replaced first

__all__ = ["asgi", "wsgi"]
