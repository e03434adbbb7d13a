"""A plot with lines, as an SVG of a few KiB: the same text for the same figures, in the reader's colours."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 600, 420
LEFT, RIGHT, BOTTOM = 70, 42, 60
_LEGEND_TOP, _LEGEND_LINE = 56, 24
_ROOM_FOR_NAME = 9.6  # a letter
_SAMPLE = 34  # of a line, in the legend

# For light pages and dark ones; with a dash and a mark each, for those who do not tell them by the colour.
STYLES = {
    "ours": ("#1f5fa8", "#7db8ff", "", "circle"),
    "ours too": ("#1f5fa8", "#7db8ff", "7 4", "ring"),
    "first": ("#b35c00", "#f0a04b", "", "square"),
    "second": ("#a0307e", "#f08ad0", "", "triangle"),
    "third": ("#2f7d4f", "#7fce9a", "", "diamond"),
    "fourth": ("#6a4fb3", "#b9a3ff", "", "cross"),
    "limit": ("#5b6571", "#9aa5b1", "2 4", "none"),
}


@dataclass(frozen=True)
class Axis:
    label: str
    log: bool = True
    ticks: Sequence[float] | None = None  # chosen where there are none
    text: Callable[[float], str] | None = None  # of a tick


@dataclass(frozen=True)
class Line:
    name: str
    style: str  # one of STYLES
    points: Sequence[tuple[float, float]]


def short(number: float) -> str:
    """3, 0.25, 10,000: as many digits as it has, up to three."""
    digits = 0 if number == 0 else max(0, 2 - math.floor(math.log10(abs(number))))
    text = f"{number:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers around *low* to *high*: 1, 2, 5 in each power of ten, or the powers alone."""
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    steps = (1, 2, 5) if math.log10(high / low) <= 2.3 else (1,)
    found = [step * 10.0**power for power in range(first, last + 1) for step in steps]
    start = max((tick for tick in found if tick <= low * 1.0001), default=found[0])
    stop = min((tick for tick in found if tick >= high * 0.9999), default=found[-1])
    return [tick for tick in found if start <= tick <= stop]


def linear_ticks(high: float) -> list[float]:
    """From 0 to *high* or somewhat more, in four to eight steps."""
    step = 10.0 ** math.floor(math.log10(high / 4))
    step = next(step * factor for factor in (1, 2, 5, 10) if high / (step * factor) <= 8)
    return [number * step for number in range(math.ceil(high / step - 1e-9) + 1)]


def svg(title: str, description: str, x: Axis, y: Axis, lines: Sequence[Line]) -> str:
    """The plot; *lines* that have no points are left out."""
    lines = [line for line in lines if line.points]
    legend, top = _legend(lines)
    across = _Scale(x, [point[0] for line in lines for point in line.points], LEFT, WIDTH - RIGHT)
    upwards = _Scale(y, [point[1] for line in lines for point in line.points], HEIGHT - BOTTOM, top)
    used = dict.fromkeys(line.style for line in lines)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" role="img" aria-labelledby="title desc">',
        f'  <title id="title">{escape(title)}</title>',
        f'  <desc id="desc">{escape(description)}</desc>',
        "  <style>",
        *_style_sheet(used),
        "  </style>",
        f'  <rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>',
        f'  <text class="head" x="16" y="28">{escape(title)}</text>',
        *legend,
        f'  <text x="16" y="{top - 14}">{escape(y.label)}</text>',
        f'  <text class="label" x="{(LEFT + WIDTH - RIGHT) // 2}" y="{HEIGHT - 12}">{escape(x.label)}</text>',
    ]
    for tick in upwards.ticks:
        at = upwards.at(tick)
        parts.append(f'  <path class="grid" d="M{LEFT} {at}H{WIDTH - RIGHT}"/>')
        parts.append(f'  <text class="left" x="{LEFT - 8}" y="{_digits(at + 6)}">{upwards.text(tick)}</text>')
    for tick in across.ticks:
        at = across.at(tick)
        parts.append(f'  <path class="grid" d="M{at} {top}V{HEIGHT - BOTTOM}"/>')
        parts.append(f'  <text class="label" x="{at}" y="{HEIGHT - BOTTOM + 22}">{across.text(tick)}</text>')
    for line in lines:
        places = [(across.at(a), upwards.at(b)) for a, b in line.points]
        path = "M" + "L".join(f"{a} {b}" for a, b in places)
        parts.append(f'  <g class="{_class(line.style)}">')
        parts.append(f'    <path class="line" d="{path}"/>')
        if marks := "".join(_mark(STYLES[line.style][3], a, b) for a, b in places):
            parts.append(f'    <path class="mark" d="{marks}"/>')
        parts.append("  </g>")
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


class _Scale:
    """Where values are drawn, from *first* to *last*."""

    def __init__(self, axis: Axis, values: Sequence[float], first: float, last: float) -> None:
        self._log = axis.log
        self.text = axis.text or short
        if axis.ticks is not None:
            self.ticks = list(axis.ticks)
        else:
            self.ticks = log_ticks(min(values), max(values)) if axis.log else linear_ticks(max(values))
        self._low, self._high = self._place(self.ticks[0]), self._place(self.ticks[-1])
        self._first, self._last = first, last

    def _place(self, value: float) -> float:
        return math.log10(value) if self._log else value

    def at(self, value: float) -> float:
        share = (self._place(value) - self._low) / ((self._high - self._low) or 1.0)
        return _digits(self._first + min(1.0, max(0.0, share)) * (self._last - self._first))


def _legend(lines: Sequence[Line]) -> tuple[list[str], int]:
    """A sample and the name of each line, in as many rows as it takes; and where the plot begins."""
    parts: list[str] = []
    x, y = 16.0, _LEGEND_TOP
    for line in lines:
        width = _SAMPLE + 6 + _ROOM_FOR_NAME * len(line.name)
        if x + width > WIDTH - RIGHT and x > 16:
            x, y = 16.0, y + _LEGEND_LINE
        start = _digits(x)
        mark = _mark(STYLES[line.style][3], start + _SAMPLE / 2, y - 6)
        parts.append(
            f'  <g class="{_class(line.style)}"><path class="line" d="M{start} {y - 6}h{_SAMPLE}"/>'
            + (f'<path class="mark" d="{mark}"/>' if mark else "")
            + f'<text x="{_digits(x + _SAMPLE + 6)}" y="{y}">{escape(line.name)}</text></g>'
        )
        x += width + 12
    return parts, y + 48


def _style_sheet(used: Iterable[str]) -> list[str]:
    light, dark = [], []
    for name in used:
        on_light, on_dark, dash, mark = STYLES[name]
        dashes = f"; stroke-dasharray: {dash}" if dash else ""
        light.append(f"    .{_class(name)} .line {{ stroke: {on_light}{dashes} }}")
        filled = mark in ("circle", "square", "triangle", "diamond")
        fill = on_light if filled else "#ffffff" if mark == "ring" else "none"
        light.append(f"    .{_class(name)} .mark {{ stroke: {on_light}; fill: {fill} }}")
        fill = on_dark if filled else "#1d2125" if mark == "ring" else "none"
        dark.append(f"      .{_class(name)} .line {{ stroke: {on_dark} }}")
        dark.append(f"      .{_class(name)} .mark {{ stroke: {on_dark}; fill: {fill} }}")
    return [
        "    text { font: 17px system-ui, sans-serif; fill: #1b1f24 }",
        "    .head { font-size: 18px; font-weight: 600 }",
        "    .label { text-anchor: middle }",
        "    .left { text-anchor: end }",
        "    .paper { fill: #ffffff }",
        "    .grid { stroke: #dfe3e8; fill: none }",
        "    .line { stroke-width: 2; fill: none; stroke-linejoin: round }",
        "    .mark { stroke-width: 1.5 }",
        *light,
        "    @media (prefers-color-scheme: dark) {",
        "      text { fill: #e6e9ec }",
        "      .paper { fill: #1d2125 }",
        "      .grid { stroke: #343b42 }",
        *dark,
        "    }",
    ]


def _class(style: str) -> str:
    return style.replace(" ", "-")


def _mark(kind: str, x: float, y: float) -> str:
    x, y = _digits(x), _digits(y)
    if kind in ("circle", "ring"):
        return f"M{_digits(x - 4)} {y}a4 4 0 1 0 8 0a4 4 0 1 0-8 0z"
    if kind == "square":
        return f"M{_digits(x - 3.5)} {_digits(y - 3.5)}h7v7h-7z"
    if kind == "triangle":
        return f"M{x} {_digits(y - 4.5)}l4.5 8h-9z"
    if kind == "diamond":
        return f"M{x} {_digits(y - 5)}l5 5l-5 5l-5-5z"
    if kind == "cross":
        return f"M{_digits(x - 4)} {_digits(y - 4)}l8 8m0-8l-8 8"
    return ""


def _digits(number: float) -> float:
    """Rounded, and whole where it is."""
    rounded = round(number, 1)
    return int(rounded) if rounded == int(rounded) else rounded
