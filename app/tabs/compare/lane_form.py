"""A lane as the fields of a pane's header hold it, both ways."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

from app.jobs.request import MAX_LANE, MOST_LAYERS, lane_refused
from dola_core.lanes import BUCKETS, Baseline, DolaDynamic, DolaStatic, Lane, lane_text, parse_lane
from dola_core.trace.step import ALPHA_MIN

PLAIN, STATIC, DYNAMIC, PENALTY, CUSTOM = MENU = ("plain", "static", "dynamic", "penalty", "custom")
"""The entries of a pane's menu."""
FIELDS: Mapping[str, tuple[str, ...]] = {
    PLAIN: (),
    STATIC: ("layer", "alpha", "beta"),
    DYNAMIC: ("bucket", "alpha", "beta"),
    PENALTY: ("penalty",),
    CUSTOM: ("text",),
}
"""{entry: the fields that belong to it}"""
MAX_BETA = 2.0
"""The strongest contrast that the slider reaches."""
LEAST_PENALTY, MOST_PENALTY = 1.0, 2.0


@dataclass(frozen=True)
class LaneForm:
    """What a pane's header holds. Fields that do not belong to its entry keep their value for a change of mind."""

    kind: str = PLAIN
    """One of `MENU`."""
    layer: int = 1
    alpha: float = 0.1
    beta: float = 1.0
    bucket: str = "high"
    """One of `BUCKETS`."""
    penalty: float = 1.2
    text: str = ""
    """Any lane, as `parse_lane` reads it."""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of its fields."""
        return tuple(field.name for field in fields(cls))

    def at_usual(self, static: Lane) -> Self:
        """The form with the layer and the cut-off that are usual with a model, from its DoLa-static."""
        return replace(self, layer=static.reads[0], alpha=static.least_share)

    def lane(self, n_layers: int | None = None) -> Lane:
        """The lane; raises `RequestError` for a text that is none, and for values that no slider has.

        A lane as text must also fit a model of `n_layers`, if that is known.
        """
        kinds: Mapping[str, tuple[type[Lane], dict[str, Any]]] = {
            PLAIN: (Baseline, {}),
            STATIC: (DolaStatic, {"layer": self.layer, "alpha": self.alpha, "beta": self.beta}),
            DYNAMIC: (DolaDynamic, {"bucket": self.bucket, "alpha": self.alpha, "beta": self.beta}),
            PENALTY: (Baseline, {"repetition_penalty": self.penalty}),
        }
        try:
            if self.kind == CUSTOM:
                lane = parse_lane(self.text[:MAX_LANE])
                if n_layers is not None:
                    lane.fitted(n_layers, tied=True)
            else:
                kind, values = kinds[self.kind]
                lane = kind.model_validate(values)
        except ValueError as error:
            raise lane_refused(n_layers or MOST_LAYERS) from error
        if 0 < lane.least_share < ALPHA_MIN:
            raise lane_refused(n_layers or MOST_LAYERS)
        return lane

    def showing(self, lane: Lane) -> Self:
        """The form that shows a lane: the menu's entry that has all its settings, or else the lane as text."""
        for kind in (PLAIN, STATIC, DYNAMIC, PENALTY):
            try:
                form = replace(self, kind=kind, text=lane_text(lane), **_values(kind, lane))
                if lane_text(form.lane()) == lane_text(lane):
                    return form
            except ValueError:
                continue
        return replace(self, kind=CUSTOM, text=lane_text(lane))


def _values(kind: str, lane: Lane) -> dict[str, Any]:
    """What the fields of an entry of the menu would hold for a lane; `ValueError` if they cannot hold it."""
    names = {"penalty": "repetition_penalty"}
    values = {name: getattr(lane, names.get(name, name), None) for name in FIELDS[kind]}
    within: Mapping[str, Callable[[Any], bool]] = {
        "bucket": lambda bucket: bucket in BUCKETS,
        "beta": lambda beta: 0 <= beta <= MAX_BETA,
        "penalty": lambda penalty: LEAST_PENALTY <= penalty <= MOST_PENALTY,
    }
    if any(value is None or not within.get(name, bool)(value) for name, value in values.items()):
        raise ValueError("no lane of this entry of the menu")
    return values
