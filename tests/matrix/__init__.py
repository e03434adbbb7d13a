"""Every server with every application, through one scenario: ``python -m tests.matrix``."""
