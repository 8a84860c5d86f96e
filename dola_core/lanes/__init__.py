"""Lanes: decoders as data plus a chooser (log-probabilities in, token out).

A lane never sees the model. It says which layers it reads and how it scores tokens; `lane.py` is all that the rest of
the project knows of it.
"""

from dola_core.lanes.buckets import BUCKETS
from dola_core.lanes.decoding_config import (
    MAX_PENALTY,
    MAX_SEED,
    MIN_PENALTY,
    MIN_TEMPERATURE,
    DecodingConfig,
    PenaltyPosition,
)
from dola_core.lanes.kinds import Baseline, DolaDynamic, DolaStatic, LinearContrast
from dola_core.lanes.lane import AnyLane, Lane, Reading, distinct_names, lane_kinds, lane_scores
from dola_core.lanes.sampling import apply_repetition_penalty, gumbel_noise, select_tokens
from dola_core.lanes.text import lane_text, parse_lane

__all__ = [
    "BUCKETS",
    "MAX_PENALTY",
    "MAX_SEED",
    "MIN_PENALTY",
    "MIN_TEMPERATURE",
    "AnyLane",
    "Baseline",
    "DecodingConfig",
    "DolaDynamic",
    "DolaStatic",
    "Lane",
    "LinearContrast",
    "PenaltyPosition",
    "Reading",
    "apply_repetition_penalty",
    "distinct_names",
    "gumbel_noise",
    "lane_kinds",
    "lane_scores",
    "lane_text",
    "parse_lane",
    "select_tokens",
]
