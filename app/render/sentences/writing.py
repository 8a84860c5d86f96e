"""How sentences are put together, and how numbers are written in them."""

import math
import re

from app.language import Language
from app.render.inspection import lane_name
from dola_core.lanes import Lane

Part = dict[str, str]
"""`{"text": …, "side": "" or one of `SIDES`}`: plain words, or what a lane chooses in the lane's colour."""
TAIL = math.log(1e-6)
"""`log q` below which a layer's probability is taken for noise: layers are trained for what the last one says."""
LARGEST = 99_999
"""A factor that is written out; of a larger one its power of ten is enough."""
BETWEEN = re.compile(r"(?<=[\u4e00-\u9fff）”，：]) (?=[\u4e00-\u9fff（“])")
"""A space between two Chinese characters or full-width marks."""
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def part(text: str, side: str = "") -> Part:
    """Plain words, or a lane's in its colour."""
    return {"text": text, "side": side}


def say(text: str) -> list[Part]:
    """A plain sentence."""
    return [part(text)]


def gap(words: Language) -> str:
    """What stands between two sentences: a space, but nothing after a full-width stop."""
    return " " if words("sentence.stop").isascii() else ""


def joined(words: Language, sentences: list[str]) -> str:
    """Sentences one after the other."""
    return close(words, gap(words).join(sentences))


def close(words: Language, text: str) -> str:
    """In Chinese, a text without the spaces that stand around names in other scripts, where a name is Chinese."""
    return text if gap(words) else BETWEEN.sub("", text)


def capital(text: str) -> str:
    """A text with a capital letter at its beginning."""
    return text[:1].upper() + text[1:]


def listed(words: Language, names: list[str]) -> str:
    """`A`, `A and B`, or `A, B and C`."""
    *before, last = names
    return words("sentence.and", before=words("sentence.comma").join(before), last=last) if before else last


def with_settings(lane: Lane, words: Language) -> str:
    """A lane by its name and its settings."""
    name = lane_name(lane, words)
    return words("sentence.with_settings", lane=name, settings=", ".join(lane.settings)) if lane.settings else name


def percent(words: Language, share: float) -> str:
    """A share in whole per cents; what is not quite nothing or everything is said to be."""
    rounded = round(100 * share)
    if share and not rounded:
        return words("sentence.percent", n="<1")
    return words("sentence.percent", n=">99" if rounded == 100 and share < 1 else rounded)


def chance(words: Language, log_q: float) -> str:
    """A layer's probability of a token: in per cents, as one in so many, or by its order of magnitude."""
    if log_q < TAIL:
        power = math.floor(-log_q / math.log(10) + 1e-9)
        return words("sentence.below_million") if power == 6 else words("sentence.below", power=_power(power))
    q = math.exp(min(0.0, log_q))
    return percent(words, q) if q >= 0.01 else words("sentence.one_in", n=f"{float(f'{1 / q:.2g}'):,.0f}")


def times(words: Language, nats: float) -> str:
    """`exp(nats)` as a factor: with one decimal below ten, whole up to `LARGEST`, then as a power of ten."""
    if nats > math.log(LARGEST + 0.5):
        return words("sentence.over", power=_power(math.floor(nats / math.log(10))))
    factor = math.exp(nats)
    return f"{factor:.1f}" if factor < 9.95 else f"{factor:,.0f}"


def _power(power: int) -> str:
    """A power of ten with its exponent raised."""
    return "10" + str(power).translate(_RAISED)
