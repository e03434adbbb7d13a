"""The ``manage.py`` of the project; it asks for the stand-in as users do."""

import os
import sys

if os.environ.get("STAND_IN"):
    import asgiadapt

    asgiadapt.install_as_asgiref()

from tests.compat.sites import project  # noqa: F401  which has the settings

if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
