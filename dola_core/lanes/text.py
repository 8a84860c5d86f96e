"""A lane as one word of text, for the command line, links and labels: `static:22,alpha=0.1`, `plain,penalty=1.2`.

The kind comes first, then its settings as `name=value`. A value without a name is the kind's `main` setting. Numbers
name the weights of a linear contrast: `linear:10=-0.5,22=-0.5,alpha=0.2`.
"""

import re
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from dola_core.errors import first_mistake
from dola_core.lanes.lane import Lane, lane_kinds

SHORT = {"penalty": "repetition_penalty", "position": "penalty_position", "norm": "early_norm"}
"""{a setting's name in text: that of its field}"""
LONG = {field: short for short, field in SHORT.items()}
SWITCH = {"on": True, "off": False}
HOW = 'A lane is written like "plain,penalty=1.2", "static:22,alpha=0.1", "dynamic:high" or "linear:22=-0.5"'
NOT_TEXT = {"kind", "layers", "weights"}
"""Fields that no setting names."""


def parse_lane(text: str) -> Lane:
    """The lane that `text` names, not yet fitted to a model. Raises `ValueError` with one sentence."""
    name, *items = (part.strip() for part in re.split("[:,]", text, maxsplit=1))
    kind = lane_kinds().get(name)
    if kind is None:
        raise ValueError(f"{HOW}; got {text!r}.")
    fields, values = kind.model_fields, dict[str, Any]()
    for item in items[0].split(",") if items else ():
        before, equals, value = (part.strip() for part in item.partition("="))
        field = SHORT.get(before, before) if equals else kind.main
        if equals and before.isdecimal() and "weights" in fields:
            values.setdefault("weights", {})[int(before)] = _value(fields["weights"], value)
        elif field is None or field not in fields or (equals and field in NOT_TEXT) or field in values:
            raise ValueError(f"{HOW}; {item.strip()!r} has no place in {text!r}.")
        else:
            values[field] = _value(fields[field], value if equals else before)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ValueError(f"The lane {text!r} cannot be used: {first_mistake(error).text}.") from error


def lane_text(lane: Lane) -> str:
    """The text of a lane without its name; `parse_lane` reads it back."""
    main, settings = "", list[str]()
    for name, field in type(lane).model_fields.items():
        value = getattr(lane, name)
        if name == lane.main:
            main = str(value)
        elif name == "weights":
            settings += [f"{layer}={weight!r}" for layer, weight in sorted(value.items())]
        elif name not in {*NOT_TEXT, "name"} and value != field.default:
            settings.append(f"{LONG.get(name, name)}={_text(value)}")
    settings = [main, *settings] if main else settings
    separator = ":" if main or "weights" in type(lane).model_fields else ","
    return separator.join([lane.kind, ",".join(settings)]) if settings else lane.kind


def _value(field: FieldInfo, text: str) -> Any:
    """The text as a number or a switch, unless the field holds text."""
    if field.annotation is str:
        return text
    if text in SWITCH:
        return SWITCH[text]
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return repr(value) if isinstance(value, float) else str(value)
