"""The rows that a client can tell from outside, against every real server."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.conformance.wire_rows import REQUESTS, RESPONSES, Request, Response
from tests.processes import ROOT, free_port, program
from tests.servers.test_servers import SERVERS, Site, needs

pytestmark = pytest.mark.server


@pytest.fixture(scope="module", params=SERVERS)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    port = free_port()
    command = SERVERS[request.param][0].format(port=port, app="tests.servers.sites:rows")
    with program("-m", *command.split(), port=port, path=str(ROOT)) as running:
        yield Site(request.param, "rows", running)


@pytest.fixture(scope="module")
def client(site: Site) -> Iterator[httpx.Client]:
    with site.client() as client:
        client.headers.clear()
        yield client


@pytest.mark.parametrize("row", [pytest.param(row, id=row.rule) for row in REQUESTS])
def test_the_environ_of_a_request(client: httpx.Client, row: Request) -> None:
    """Each entry is there, or is not."""
    url = httpx.URL(str(client.base_url)).copy_with(raw_path=row.target)
    environ = client.request(row.method, url, headers=list(row.headers)).json()
    assert {key: environ.get(key) for key in row.expected} == row.expected


def response_rows() -> list[Any]:
    cut = [needs("cutting off")]
    return [pytest.param(row, id=row.rule, marks=() if row.status else cut) for row in RESPONSES]


@pytest.mark.parametrize("row", response_rows())
def test_the_response_of_an_application(client: httpx.Client, row: Response) -> None:
    """Whole and right, a 500 of the server's, or none that looks whole."""
    if row.status is None:
        with pytest.raises(httpx.RemoteProtocolError):
            client.request(row.method, f"/{row.rule}")
        return
    answer = client.request(row.method, f"/{row.rule}")
    assert answer.status_code == row.status
    if row.status != 500:
        assert answer.content == row.body
        # latin-1, as the wire has it; httpx guesses
        found = {name: _joined(answer, name) if name in answer.headers else None for name in row.headers}
        assert found == row.headers


def _joined(answer: httpx.Response, name: str) -> str:
    values = [value for key, value in answer.headers.raw if key.lower() == name.encode()]
    return b", ".join(values).decode("latin-1")
