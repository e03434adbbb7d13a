"""What stands in for asgiref. The version is the one whose names are here."""

__version__ = "3.13.0"
