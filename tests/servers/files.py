"""A file and a long text, as the sites give them in frameworks that have no means of their own for that."""

import gzip
import hashlib
import os
import re
from pathlib import Path

# Where the site's file lies. Whoever starts the server says so; without it, no file is asked for.
FOLDER = Path(os.environ.get("SITE_FOLDER", Path(__file__).parent))
FILE = FOLDER / "file.bin"
MOUNT = "/mounted"
TEXT = b"".join(b"a line of text, number %d\n" % number for number in range(200))

Answer = tuple[int, dict[str, str], bytes]


def file(wanted: str | None, known: str | None) -> Answer:
    """The file, or the part that the Range header *wanted* names; 304 where If-None-Match has its ETag."""
    content = FILE.read_bytes()
    etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    headers = {"ETag": etag, "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
    if known == etag:
        return 304, headers, b""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted or "")
    if match is None:
        return 200, {**headers, "Content-Length": str(len(content))}, content
    first = int(match[1]) if match[1] else len(content) - int(match[2])
    last = int(match[2]) if match[1] and match[2] else len(content) - 1
    part = content[first : last + 1]
    headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
    return 206, {**headers, "Content-Length": str(len(part))}, part


def text(accepted: str | None) -> Answer:
    """The text, compressed where Accept-Encoding has it."""
    headers = {"Content-Type": "text/plain", "Vary": "Accept-Encoding"}
    if "gzip" not in (accepted or ""):
        return 200, headers, TEXT
    return 200, {**headers, "Content-Encoding": "gzip"}, gzip.compress(TEXT)
