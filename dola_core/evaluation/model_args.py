"""A lane from the model arguments of a harness, which are `name=value` between commas.

The commas of `lane=static:22,alpha=0.1` part arguments as well, so a lane's settings arrive as arguments of their own.
They are put back into the lane's text, and `parse_lane` reads that.
"""

import math
from typing import Any

from dola_core.lanes import Lane, lane_kinds, parse_lane
from dola_core.lanes.text import LONG, NOT_TEXT, SWITCH


class ModelArgsError(ValueError):
    """Arguments of the model `dola` cannot be used. The message is one sentence."""


def setting_names() -> set[str]:
    """What lanes of any kind call their settings in text, such as alpha and penalty."""
    fields = {field for kind in lane_kinds().values() for field in kind.model_fields}
    return {LONG.get(field, field) for field in fields - NOT_TEXT - {"name"}}


def take_lane(lane: Lane | str | None, arguments: dict[str, Any]) -> Lane | None:
    """The lane that `lane` and the settings among `arguments` name; the settings are removed from there.

    None if neither names one. Raises `ModelArgsError` for what is no lane, or a setting that it does not have.
    """
    known = setting_names()
    settings = {name: arguments.pop(name) for name in list(arguments) if name in known or name.isdecimal()}
    if lane is None and settings:
        raise ModelArgsError(f"{', '.join(settings)} is set of no lane; name it, as in lane=static:22,alpha=0.1.")
    if isinstance(lane, Lane) and settings:
        raise ModelArgsError(f"{', '.join(settings)} is set beside a lane that is an object; set it there.")
    if lane is None or isinstance(lane, Lane):
        return lane
    words = [str(lane), *(f"{name}={_word(value)}" for name, value in settings.items())]
    try:
        return parse_lane(",".join(words))
    except ValueError as error:
        raise ModelArgsError(str(error)) from error


def check_outside(outside: Any) -> float:
    """The score of a token outside the plausible head, if it is a finite number up to 0; else `ModelArgsError`."""
    is_number = isinstance(outside, int | float) and not isinstance(outside, bool)
    if not is_number or not math.isfinite(outside) or outside > 0:
        raise ModelArgsError(f"outside must be a finite number, at most 0, such as -1000; got {outside!r}.")
    return float(outside)


def _word(value: Any) -> str:
    """A setting as a lane's text has it; harnesses turn what looks like a number or a truth value into one."""
    if isinstance(value, bool):
        return next(word for word, truth in SWITCH.items() if truth is value)
    return repr(value) if isinstance(value, float) else str(value)
