"""Every thread, lock and event loop that asgiadapt owns or waits for. Nothing here knows HTTP."""
