"""The benchmark report: how cost grows as work grows, beside all other benchmarks, as a page with plots.

``python -m benchmarks.report`` measures and writes ``docs/benchmarks.md`` and ``docs/benchmarks/``.
"""
