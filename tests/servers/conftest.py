"""Leaves out the tests that need what a server does not have."""

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    from tests.servers.test_servers import SERVERS

    left_out = []
    for item in items:
        marker = item.get_closest_marker("needs")
        if marker is not None:
            server = item.callspec.params["site"].partition("+")[0]  # type: ignore[attr-defined]
            if SERVERS[server][1].intersection(marker.args):
                left_out.append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
