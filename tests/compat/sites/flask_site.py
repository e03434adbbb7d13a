"""Asks a Flask application with async views, and prints what it answers as JSON."""

import json
import os
import sys
from typing import Any

if os.environ.get("STAND_IN"):
    import asgiadapt

    asgiadapt.install_as_asgiref()

import asyncio

from flask import Blueprint, Flask, Response, g, request, session
from flask.views import MethodView

app = Flask(__name__)
app.secret_key = "of the tests"
inner = Blueprint("inner", __name__, url_prefix="/inner")


@app.before_request
async def before() -> None:
    await asyncio.sleep(0)
    g.seen = ["before"]


@app.after_request
async def after(response: Response) -> Response:
    response.headers["x-seen"] = ", ".join(g.seen)
    return response


@app.teardown_request
async def teardown(error: BaseException | None) -> None:
    await asyncio.sleep(0)


@app.errorhandler(LookupError)
async def lookup_error(error: LookupError) -> tuple[str, int]:
    return f"handled {error}", 418


@app.context_processor
async def processor() -> dict[str, Any]:
    return {"word": "async"}


@app.route("/plain")
def plain() -> str:
    return "plain"


@app.route("/async")
async def view() -> dict[str, Any]:
    g.seen.append("view")
    session["visits"] = session.get("visits", 0) + 1
    values = await asyncio.gather(*(asyncio.sleep(0, number) for number in range(3)))
    return {"values": values, "path": request.path, "visits": session["visits"]}


@app.route("/error")
async def error() -> str:
    raise LookupError("on purpose")


class Method(MethodView):
    async def post(self) -> str:
        return f"posted {request.get_data(as_text=True)}"


app.add_url_rule("/method", view_func=Method.as_view("method"))


@inner.route("/")
async def index() -> str:
    return app.ensure_sync(view)()["path"]


app.register_blueprint(inner)


def main() -> None:
    client = app.test_client()
    answers: dict[str, Any] = {}
    for path in ("/plain", "/async", "/async", "/error", "/inner/"):
        answer = client.get(path)
        answers[f"{len(answers)} {path}"] = [answer.status_code, answer.text, answer.headers["x-seen"]]
    answers["method"] = client.post("/method", data="body").text
    import asgiref.sync

    answers["asgiref"] = asgiref.sync.__name__
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
