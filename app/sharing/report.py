"""A report: what the page shows of a trace, as the parts of one HTML file that opens offline."""

from typing import Any

from app.render.figures import (
    changed_by_layer_card,
    divergence_card,
    heat_card,
    layer_card,
    map_card,
    plausible_head_card,
)
from app.render.inspection import Inspection
from app.render.sentences import difference_sentence, say, settings_sentence, step_sentence
from app.render.token_strips import token_strips
from app.ui.theme import css


def report(inspection: Inspection) -> dict[str, Any]:
    """The parts of a report, which the browser puts into one file together with the scripts that draw them."""
    parts = [
        ("sentence", say(settings_sentence(inspection.trace, inspection.words))),
        ("strips", token_strips(inspection)),
        ("sentence", say(difference_sentence(inspection))),
        ("chart", divergence_card(inspection)),
        ("sentence", step_sentence(inspection)),
        ("chart", plausible_head_card(inspection)),
        ("chart", layer_card(inspection)),
        ("chart", heat_card(inspection, 0)),
        ("chart", heat_card(inspection, 1)),
        ("chart", map_card(inspection)),
        ("chart", changed_by_layer_card(inspection)),
    ]
    return {
        "name": f"dola-duet-{inspection.trace.digest}.html",
        "css": css(),
        "parts": [{"kind": kind, "value": value} for kind, value in parts],
    }
