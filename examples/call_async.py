"""Asynchronous code, called from plain synchronous code and from a Flask view.

python examples/call_async.py [PORT]      or, on a WSGI server: flask --app examples/call_async.py run
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator

import uvicorn
from flask import Flask, Response, render_template_string

from asgiadapt import WsgiToAsgi, async_to_sync

SHOPS = {"north": 0.2, "south": 0.3, "far away": 60.0}  # how many seconds each takes to answer

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Prices</title>
<link rel="icon" href="data:,">
<style>:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif } body { margin: 2rem }</style>
<h1>Prices</h1>
<ul>{% for shop, price in prices.items() %}<li>{{ shop }}: {{ price }}</li>{% endfor %}</ul>
<p>All were asked at the same time, within {{ "%.1f" | format(seconds) }} seconds.
<a href="/offers">Offers, one by one</a></p>
"""


async def price(shop: str, limit: float) -> str:
    try:
        async with asyncio.timeout(limit):
            await asyncio.sleep(SHOPS[shop])  # stands for a request over the network
    except TimeoutError:
        return "no answer"
    return f"{len(shop)}.50"


async def all_prices(limit: float) -> dict[str, str]:
    return dict(zip(SHOPS, await asyncio.gather(*(price(shop, limit) for shop in SHOPS)), strict=True))


# A plain function, for all the synchronous code below.
prices = async_to_sync(all_prices)


@async_to_sync
async def offers(count: int) -> AsyncIterator[str]:
    for number in range(1, count + 1):
        await asyncio.sleep(0.2)
        yield f"offer {number}\n"


flask_app = Flask(__name__)


@flask_app.get("/")
def index() -> str:
    started = time.monotonic()
    # Behind uvicorn it runs on uvicorn's own loop, behind a WSGI server on a loop kept for this thread.
    found = prices(limit=0.5)
    return render_template_string(PAGE, prices=found, seconds=time.monotonic() - started)


@flask_app.get("/offers")
def stream() -> Response:
    lines: Iterator[str] = offers(5)  # an async generator function has become a generator function
    return Response(lines, mimetype="text/plain")


app = WsgiToAsgi(flask_app)

if __name__ == "__main__":
    for shop, found in prices(limit=0.5).items():
        print(f"{shop}: {found}")
    uvicorn.run(app, port=int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
