"""The Django site with asgiref."""

from benchmarks.django_site import asgi, wsgi

__all__ = ["asgi", "wsgi"]
