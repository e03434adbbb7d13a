"""A Flask application below /legacy, beside the asynchronous routes of FastAPI.

python examples/mounted_in_fastapi.py [PORT]      or: uvicorn --app-dir examples mounted_in_fastapi:app
"""

import asyncio
import sys

import uvicorn
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from flask import Flask, redirect, render_template_string, url_for
from werkzeug import Response

from asgiadapt import WsgiToAsgi

HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Flask in FastAPI</title>
<link rel="icon" href="data:,">
"""

OLD_SIDE = """<link rel="stylesheet" href="{{ url_for('static', filename='plain.css') }}">
<h1>The old side</h1>
<p>{{ text }}</p>
<ul>
  <li><a href="{{ url_for('greet', name='you') }}">a page of this side</a></li>
  <li><a href="{{ url_for('start') }}">a redirect to its index</a></li>
  <li><a href="/">the new side</a></li>
</ul>
"""

NEW_SIDE = """<link rel="stylesheet" href="/legacy/static/plain.css">
<h1>The new side</h1>
<p>This page is made by FastAPI, on the event loop.</p>
<ul><li><a href="/legacy/">the old side</a></li></ul>
"""

# Flask builds its URLs from SCRIPT_NAME, in which it finds the prefix of the mount: no setting is needed.
legacy = Flask(__name__)


@legacy.get("/")
def index() -> str:
    return render_template_string(HEAD + OLD_SIDE, text="This page is made by Flask, on a worker thread.")


@legacy.get("/greet/<name>")
def greet(name: str) -> str:
    return render_template_string(HEAD + OLD_SIDE, text=f"Hello {name}!")


@legacy.get("/start")
def start() -> Response:
    return redirect(url_for("index"))


app = FastAPI()


@app.get("/", response_class=HTMLResponse)
async def new_side() -> str:
    await asyncio.sleep(0.1)  # the loop serves others in the meantime
    return HEAD + NEW_SIDE


app.mount("/legacy", WsgiToAsgi(legacy))

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
