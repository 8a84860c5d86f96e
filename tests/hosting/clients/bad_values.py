"""Values of every kind that strangers send where the page expects something else."""

from typing import Any

from tests.hosting.clients.attack import MARK
from tests.server import ROOT

VALUES: dict[str, Any] = {
    "nothing": None, "a text": MARK, "no text": "", "a number": 7, "a negative number": -1, "a fraction": 1.5,
    "a huge number": 10**30, "a huger number": 10**4000, "a large real number": 1e308, "a truth value": True,
    "a list": [MARK], "an object": {"a": MARK}, "nested": [[[[{"a": [{}, MARK]}]]]],
    "half a character": f"\ud800{MARK}",
    "a null character": f"\0{MARK}", "a long text": MARK * 10_000, "many values": [[]] * 2000,
    "a file": {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}},
    "a file of the page": {"path": str(ROOT / f"{MARK}.csv"), "meta": {"_type": "gradio.FileData"}},
    "an address": {"path": MARK, "url": "http://192.0.2.1/a.csv", "meta": {"_type": "gradio.FileData"}},
    "an address as path": {"path": "http://192.0.2.1/a.csv", "meta": {"_type": "gradio.FileData"}},
    "an update": {"__type__": "update", "value": MARK, "choices": [MARK]},
}  # fmt: skip
FEW = {name: VALUES[name] for name in ("nothing", "a text", "an object", "a list", "a large real number", "a file")}
"""Enough of them where each is tried in many places."""
