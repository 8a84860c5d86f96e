"""Traces of earlier schemas, as documents of today's.

Schema 1 knew two kinds of lanes, told apart by whether they have a layer.
"""

from typing import Any


def upgraded(document: Any) -> Any:
    """A document of schema 1 as one of schema 2; anything else as it is. What does not fit is left to be refused."""
    if not isinstance(document, dict) or document.get("schema") != 1:
        return document
    lanes = document.get("lanes")
    return document | {"schema": 2, "lanes": [_lane(lane) for lane in lanes] if isinstance(lanes, list) else lanes}


def _lane(lane: Any) -> Any:
    if not isinstance(lane, dict) or "kind" in lane:
        return lane
    if lane.get("layer") is None:
        return {name: value for name, value in lane.items() if name not in ("layer", "alpha")} | {"kind": "plain"}
    return lane | {"kind": "static"}
