"""What a notebook shows of futures, Executors and maps that run: HTML, without widgets or scripts. Values in, text out.

A notebook asks an object for it by the name ``_repr_html_`` [IPython, "Rich display"]. All that comes from a program is
escaped.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from scoop_hpc.worker.watched.accounts import described, shortened

_MONO = "font-family:monospace"


def future_html(
    name: str, state: str, value: Any = None, error: BaseException | None = None, finished: bool = False
) -> str:
    """Return a line about a future of *name*: its outcome if it is *finished*, else its *state*.

    >>> future_html("simulate", "finished", 42, finished=True)
    '<div style="font-family:monospace">simulate(): 42</div>'
    >>> future_html("", "pending")
    '<div style="font-family:monospace">future: pending</div>'
    """
    outcome = state if not finished else shortened(value) if error is None else f"failed: {described(error)}"
    return _line(f"{f'{name}()' if name else 'future'}: {outcome}")


def table_html(title: str, rows: Mapping[str, object]) -> str:
    """Return a table of *rows* below a *title*.

    >>> table_html("Executor", {"workers": 4})
    '<div><b>Executor</b><table><tr><th>workers</th><td>4</td></tr></table></div>'
    """
    cells = "".join(f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in rows.items())
    return f"<div><b>{_text(title)}</b><table>{cells}</table></div>"


def bar_html(words: str, done: int, total: int | None) -> str:
    """Return a bar of *done* of *total*, one without a measure if that is not known, with *words* beside it.

    >>> bar_html("simulate: 3 of 4 done", 3, 4)
    '<div><progress value="3" max="4"></progress> simulate: 3 of 4 done</div>'
    """
    measure = "" if total is None else f' value="{done}" max="{max(total, 1)}"'
    return f"<div><progress{measure}></progress> {_text(words)}</div>"


def _line(text: str) -> str:
    return f'<div style="{_MONO}">{_text(text)}</div>'


def _text(value: object) -> str:
    return html.escape(str(value))
