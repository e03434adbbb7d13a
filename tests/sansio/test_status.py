"""Status lines, each read as the number that ASGI wants, and made of one."""

from http import HTTPStatus
from typing import Any

import pytest

from asgiadapt._errors import ApplicationTypeError, ApplicationValueError
from asgiadapt._sansio.status import line_from_status, status_from_line


@pytest.mark.parametrize(
    ("line", "code"),
    [
        pytest.param("200 OK", 200, id="W2A-RESP-09"),
        pytest.param("404 Not Found", 404, id="W2A-RESP-09-words"),
        pytest.param("204", 204, id="W2A-RESP-11-OPEN-41"),
        pytest.param("204 ", 204, id="W2A-RESP-11-space"),
        pytest.param("200 Tr\u00e8s bien \u2603", 200, id="W2A-RESP-10-any-phrase"),
        pytest.param("999 Whatever", 999, id="W2A-RESP-10-last"),
        pytest.param("200 200 OK", 200, id="W2A-RESP-10-digits-in-phrase"),
    ],
)
def test_a_status_line_gives_its_code(line: str, code: int) -> None:
    """An int, the same each time; the phrase is dropped."""
    for _ in range(2):
        assert status_from_line(line) == code
        assert type(status_from_line(line)) is int


@pytest.mark.parametrize(
    "line",
    [
        "",
        "OK",
        "20 OK",
        "2000 X",
        "200OK",
        " 200 OK",
        "200\tOK",
        "+20 OK",
        "200 OK\r\n",
        "200 OK\n",
        "200 O\rK",
        "200 O\0K",
        "200 O\x7fK",
        "200 O\tK",
        "\u0662\u0660\u0660 OK",
        "20\u00b2 OK",
    ],
)
def test_what_is_no_status_line_is_refused(line: str) -> None:
    """W2A-RESP-10; the text shows the line and an example of a right one."""
    with pytest.raises(ApplicationValueError, match="three digits, a space and a phrase") as caught:
        status_from_line(line)
    assert repr(line) in str(caught.value)
    assert "'200 OK'" in str(caught.value)


@pytest.mark.parametrize("line", [200, HTTPStatus.OK, b"200 OK", None, ["200 OK"]])
def test_a_status_that_is_no_text_is_refused(line: Any) -> None:
    """W2A-RESP-10; hashable or not, the text names its type."""
    with pytest.raises(ApplicationTypeError, match=f"a {type(line).__name__}; give a str such as '200 OK'"):
        status_from_line(line)


@pytest.mark.parametrize("line", ["100 Continue", "101 Switching Protocols", "103 Early Hints", "199"])
def test_an_interim_status_is_refused(line: str) -> None:
    """W2A-RESP-12, OPEN-40; the text says what to do instead."""
    with pytest.raises(ApplicationValueError, match=r"interim response.*'wsgi\.early_hints'"):
        status_from_line(line)


@pytest.mark.parametrize(
    ("code", "line"),
    [
        (200, "200 OK"),
        (404, "404 Not Found"),
        (418, "418 I'm a Teapot"),
        (299, "299 Unknown"),
        (999, "999 Unknown"),
        (HTTPStatus.CREATED, "201 Created"),
    ],
)
def test_a_code_gives_its_line(code: int, line: str) -> None:
    """A plain str, the same each time, with a phrase in any case."""
    for _ in range(2):
        assert line_from_status(code) == line
        assert type(line_from_status(code)) is str
        assert status_from_line(line_from_status(code)) == code


@pytest.mark.parametrize("code", [-1, 0, 99, 100, 101, 103, 199, 1000, HTTPStatus.CONTINUE, 10**30])
def test_a_code_outside_the_final_ones_is_refused(code: int) -> None:
    """The text tells the bounds."""
    with pytest.raises(ApplicationValueError, match=f"the status {int(code)}; give one from 200 to 999"):
        line_from_status(code)


@pytest.mark.parametrize("code", [None, "200", 200.0, b"200", True, False, [200]])
def test_a_code_that_is_no_number_is_refused(code: Any) -> None:
    """A bool is none; the text names the type."""
    with pytest.raises(ApplicationTypeError, match=f"a {type(code).__name__}; give an int such as 200"):
        line_from_status(code)
