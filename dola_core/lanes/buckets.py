"""Buckets: the layers among which DoLa-dynamic chooses, by name or as a range.

| bucket | layers |
|---|---|
| `low`, `high` | as `transformers` 4.55.4, the last with DoLa built in, resolves `dola_layers` |
| `all` | 1 … N−1 |
| `lower`, `middle`, `upper` | the thirds [1, 10], [11, 20] and [21, 29] of 30 layers, scaled to N |
| `16-28`, `16-28/2`, `22` | a range, both ends included, with a stride |

Layer 0 is the embeddings. `low` begins with it where the head is not tied to them.
"""

import re

RANGE = re.compile(r"([0-9]{1,4})(?:-([0-9]{1,4})(?:/([0-9]{1,4}))?)?")
BUCKETS = ("low", "high", "all", "lower", "middle", "upper")
FORMS = "low, high, all, lower, middle, upper, or a range such as 16-28 or 16-28/2"


def bucket_layers(bucket: str, n_layers: int, *, tied: bool) -> tuple[int, ...]:
    """The layers of `bucket` in a model of `n_layers` whose head is `tied` to its embeddings, from the lowest.

    Raises `ValueError` for what is no bucket, or one that holds none of the model's layers 0 … N−1.
    """
    if bucket in BUCKETS:
        found = _named(bucket, n_layers, tied=tied)
    else:
        match = RANGE.fullmatch(bucket)
        if match is None:
            raise ValueError(f"bucket must be {FORMS}; got {bucket!r}.")
        first, last, stride = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
        if last < first or not stride:
            raise ValueError(f"bucket must be {FORMS}; got {bucket!r}.")
        found = range(first, last + 1, stride)
    if not found or found[-1] >= n_layers:
        raise ValueError(
            f"bucket {bucket!r} must lie within the layers 0 to {n_layers - 1} (the model has {n_layers} layers)."
        )
    return tuple(found)


def _named(bucket: str, n_layers: int, *, tied: bool) -> range:
    if bucket == "low":
        # Layer 0 of a tied model would give back the token that was read.
        start = 0 if not tied or n_layers < 2 else min(2, n_layers - 1)
        end = n_layers // 2 if n_layers <= 40 else 20
        return range(start, max(start + 1, end), 2)
    if bucket == "high":
        return range(n_layers // 2 if n_layers <= 40 else n_layers - 20, n_layers, 2)
    if bucket == "all":
        return range(1, n_layers)
    third = [round(n_layers * part / 3) for part in range(3)] + [n_layers - 1]
    number = ("lower", "middle", "upper").index(bucket)
    return range(third[number] + 1, third[number + 1] + 1)
