"""Asks the project all that it answers, by Django's and Channels' own clients; prints it as JSON."""

import asyncio
import io
import json
import os
import sys
from typing import Any

if os.environ.get("STAND_IN"):
    import asgiadapt

    asgiadapt.install_as_asgiref()

from channels.layers import get_channel_layer
from channels.testing import ApplicationCommunicator, HttpCommunicator, WebsocketCommunicator
from django.core.management import call_command
from django.test import AsyncClient, Client, TestCase, TransactionTestCase, override_settings
from django.test.runner import DiscoverRunner

from tests.compat.sites import project


async def body_of(response: Any) -> str:
    if not response.streaming:
        return response.content.decode()
    if response.is_async:
        return "".join([part.decode() async for part in response.streaming_content])
    return "".join(part.decode() for part in response.streaming_content)


async def by_async_client() -> dict[str, Any]:
    client = AsyncClient(raise_request_exception=False)
    answers = {}
    for path in project.PATHS * 2:
        response = await client.get(path)
        text = await body_of(response) if response.status_code == 200 else response.reason_phrase
        answers[path] = [response.status_code, text, response.get("x-sync"), response.get("x-async")]
    response = await client.post("/class", {"a": "1", "file": io.StringIO("content")})
    answers["POST /class"] = response.json()
    return answers


def by_client() -> dict[str, Any]:
    client = Client(raise_request_exception=False)
    answers = {}
    for path in project.PATHS * 2:
        response = client.get(path)
        text = response.reason_phrase
        if response.status_code == 200:
            text = (b"".join(response) if response.streaming else response.content).decode()
        answers[path] = [response.status_code, text, response.get("x-sync"), response.get("x-async")]
    return answers


async def by_communicators() -> dict[str, Any]:
    answers: dict[str, Any] = {}
    echo = WebsocketCommunicator(project.channels_application, "/echo", headers=[(b"host", b"testserver")])
    answers["connected"] = await echo.connect(timeout=10)
    await echo.send_to(text_data="hello")
    answers["echo"] = await echo.receive_from(timeout=10)
    answers["nothing more"] = await echo.receive_nothing()
    await echo.disconnect(timeout=10)
    rooms = [WebsocketCommunicator(project.channels_application, "/room") for _ in range(2)]
    for room in rooms:
        await room.connect(timeout=10)
    await rooms[0].send_json_to({"said": "hello"})
    answers["rooms"] = [await room.receive_json_from(timeout=10) for room in rooms]
    for room in rooms:
        await room.disconnect(timeout=10)
    page = HttpCommunicator(project.channels_application, "POST", "/page", body=b"body")
    answers["page"] = (await page.get_response(timeout=10))["body"].decode()
    view = HttpCommunicator(project.channels_application, "GET", "/async")
    answers["view"] = (await view.get_response(timeout=10))["body"].decode()
    job = ApplicationCommunicator(project.channels_application, {"type": "channel", "channel": "jobs"})
    await job.send_input({"type": "work", "number": 6})
    answers["job"] = (await get_channel_layer().receive("answers"))["number"]
    answers["done"] = project.Job.done
    job.stop()
    return answers


class InTransaction(TestCase):
    def setUp(self) -> None:
        project.User.objects.create(username="set up")

    async def test_async(self) -> None:
        assert await project.User.objects.acount() == 1
        assert (await self.async_client.get("/async")).status_code == 200
        await project.User.objects.acreate(username="rolled back afterwards")

    def test_sync(self) -> None:
        assert project.User.objects.count() == 1
        assert self.client.get("/orm").json()["names"] == ["orm1", "orm2"]


class Committed(TransactionTestCase):
    async def test_async(self) -> None:
        assert await project.User.objects.acount() == 0
        with override_settings(DEBUG=False):
            assert (await self.async_client.get("/rolled_back")).json()["left"] == 0


def by_test_runner() -> list[str]:
    import unittest

    runner = DiscoverRunner(verbosity=0, interactive=False)
    runner.setup_test_environment(debug=True)
    databases = runner.setup_databases(aliases={"default"})
    output = io.StringIO()
    try:
        suite = unittest.TestSuite()
        for case in (InTransaction, Committed):
            suite.addTests(unittest.defaultTestLoader.loadTestsFromTestCase(case))
        result = unittest.TextTestRunner(output, verbosity=2).run(suite)
    finally:
        runner.teardown_databases(databases)
        runner.teardown_test_environment()
    return [f"{result.testsRun} run", *(text for _, text in result.errors + result.failures)]


def main() -> None:
    call_command("migrate", verbosity=0)
    answers = {
        "async client": asyncio.run(by_async_client()),
        "client": by_client(),
        "communicators": asyncio.run(by_communicators()),
        "test runner": by_test_runner(),
    }
    import asgiref.sync

    # What has answered; the caller looks at it and takes it out.
    answers["asgiref"] = asgiref.sync.__name__
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
