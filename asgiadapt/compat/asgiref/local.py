"""``asgiref.local``."""

from asgiadapt import Local

__all__ = ["Local"]
