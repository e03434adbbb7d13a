"""The rows that a client can tell from outside, against the fake: this keeps the fake like the servers."""

import json
from urllib.parse import unquote

import pytest

from tests.conformance.wire_rows import REQUESTS, RESPONSES, Request, Response, site
from tests.fakes import connection
from tests.validated import WsgiToAsgi


@pytest.mark.parametrize("row", [pytest.param(row, id=row.rule) for row in REQUESTS])
async def test_the_environ_of_a_request(row: Request) -> None:
    """Each entry is there, or is not."""
    path, _, query = row.target.partition(b"?")
    scope = {"path": unquote(path.decode()), "raw_path": path, "query_string": query}
    headers = [(b"host", b"testserver"), *row.headers]
    client = ("127.0.0.1", 5)
    async with connection(
        WsgiToAsgi(site), method=row.method, headers=headers, client=client, **scope
    ) as opened:
        environ = json.loads((await opened.result()).body)
    assert {key: environ.get(key) for key in row.expected} == row.expected


@pytest.mark.parametrize("row", [pytest.param(row, id=row.rule) for row in RESPONSES])
async def test_the_response_of_an_application(row: Response) -> None:
    """Whole and right, a 500 of the server's, or none that looks whole."""
    async with connection(WsgiToAsgi(site), method=row.method, path=f"/{row.rule}") as opened:
        if row.status in (None, 500):
            with pytest.raises(Exception):  # noqa: B017 - which one, test_response.py tells
                await opened.result()
            assert opened.answer.started == (row.status is None)
            assert not opened.answer.complete
            return
        answer = await opened.result()
    assert (answer.status, answer.body) == (row.status, row.body)
    fields: dict[str, list[str]] = {}
    for name, value in answer.headers:
        fields.setdefault(name.decode(), []).append(value.decode("latin-1"))
    found = {name: ", ".join(fields[name]) if name in fields else None for name in row.headers}
    assert found == row.headers
