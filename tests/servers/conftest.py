"""Leaves out the tests that need what a server, or a framework on it, does not have."""

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    from tests.servers import test_servers, test_wsgi_servers

    left_out = []
    for item in items:
        marker = item.get_closest_marker("needs")
        if marker is not None:
            params = item.callspec.params
            if "site" in params:
                lacking = set(test_servers.SERVERS[params["site"].partition("+")[0]][1])
            else:
                lacking = set(test_wsgi_servers.SERVERS[params["server"]][1])
                lacking |= test_wsgi_servers.LACKING.get(params.get("framework"), set())
            if lacking.intersection(marker.args):
                left_out.append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
