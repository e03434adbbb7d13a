"""Every rule of the two specifications, as plain functions and small state machines.

Nothing here knows a thread, an event loop, a clock or a file.
"""
