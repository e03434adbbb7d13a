"""For mkdocstrings: makes Markdown of the docstrings, which are written to be read in the source.

A line of one word above an indented block becomes a heading, the block below "Parameters" a list, and a
public name in single backquotes a link.
"""

import re
from textwrap import dedent
from typing import Any

import griffe

_SECTION = re.compile(r"^([A-Z][a-z]+)\n((?:    .*\n?|\n(?=    ))+)", re.M)
_PARAMETER = re.compile(r"^([\w*]+(?:, \w+)*): ", re.M)
_NAME = re.compile(r"(?<!`)`([A-Za-z_]\w*)`(?!`)")


def markdown(text: str, public: frozenset[str]) -> str:
    """*text*, with links to the names that are *public*."""
    return _NAME.sub(lambda found: _linked(found[1], public), _SECTION.sub(_section, text))


def _section(found: re.Match[str]) -> str:
    title, block = found[1], dedent(found[2]).strip()
    if title == "Parameters":
        items = re.split(r"\n(?=\S)", block)
        block = "\n".join("- " + _PARAMETER.sub(_parameter, item, count=1) for item in items)
    return f"**{title}**\n\n{block}\n"


def _parameter(found: re.Match[str]) -> str:
    return ", ".join(f"`` {name} ``" for name in found[1].split(", ")) + ": "


def _linked(name: str, public: frozenset[str]) -> str:
    return f"[`{name}`][asgiadapt.{name}]" if name in public else f"`{name}`"


class DocstringsInMarkdown(griffe.Extension):
    """Rewrites every docstring of the package."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        public = frozenset(str(name).strip("'\"") for name in pkg.exports or ())
        self._rewrite(pkg, public)

    def _rewrite(self, thing: griffe.Object, public: frozenset[str]) -> None:
        if isinstance(thing, griffe.Function):
            for parameter in thing.parameters:
                if "_KIB" in str(parameter.default):
                    parameter.default = str(parameter.default).replace("_KIB", "1024")  # it is private
        if thing.docstring is not None:
            thing.docstring.value = markdown(thing.docstring.value, public)
        for member in thing.members.values():
            if not member.is_alias:
                self._rewrite(member, public)  # type: ignore[arg-type]
