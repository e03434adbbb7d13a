"""A Flask application mounted beside the asynchronous routes of FastAPI.

uvicorn --app-dir examples flask_in_fastapi:app
"""

import asyncio

from fastapi import FastAPI
from flask import Flask, redirect, url_for

from asgiadapt import WsgiToAsgi

legacy = Flask(__name__)


@legacy.get("/")
def old_index() -> str:
    return f"the old pages; one of them is at {url_for('old_page', name='about')}\n"


@legacy.get("/page/<name>")
def old_page(name: str) -> str:
    return f"the old page {name}\n"


@legacy.get("/start")
def start() -> object:
    return redirect(url_for("old_index"))


app = FastAPI()


@app.get("/new")
async def new() -> dict[str, str]:
    await asyncio.sleep(0)
    return {"page": "a new one"}


app.mount("/legacy", WsgiToAsgi(legacy))
