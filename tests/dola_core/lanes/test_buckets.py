"""Buckets: `low` and `high` as the DoLa once built into `transformers` has them, the thirds, ranges, and refusals."""

import pytest

from dola_core.lanes.buckets import BUCKETS, bucket_layers


def peer_layers(bucket: str, n_layers: int, *, tied: bool) -> list[int]:
    """The rule of `transformers` 4.55.4, `GenerationMixin._dola_decoding`, written down from its comments."""
    start = 0 if not tied else 2 if n_layers > 2 else 1 if n_layers == 2 else 0
    if bucket == "low" and start == n_layers // 2:
        return [start]
    if n_layers <= 40:
        return list(range(start, n_layers // 2, 2) if bucket == "low" else range(n_layers // 2, n_layers, 2))
    return list(range(start, 20, 2) if bucket == "low" else range(n_layers - 20, n_layers, 2))


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("bucket", ["low", "high"])
def test_low_and_high_are_the_peers_for_every_depth(bucket, tied):
    for n_layers in range(6, 81):
        assert list(bucket_layers(bucket, n_layers, tied=tied)) == peer_layers(bucket, n_layers, tied=tied)


def test_low_and_high_of_30_layers():
    assert bucket_layers("low", 30, tied=True) == (2, 4, 6, 8, 10, 12, 14)
    assert bucket_layers("low", 30, tied=False) == (0, 2, 4, 6, 8, 10, 12, 14)
    assert bucket_layers("high", 30, tied=True) == (15, 17, 19, 21, 23, 25, 27, 29)
    assert bucket_layers("high", 80, tied=True) == (60, 62, 64, 66, 68, 70, 72, 74, 76, 78)


def test_the_thirds_of_30_layers():
    thirds = [bucket_layers(name, 30, tied=False) for name in ("lower", "middle", "upper")]
    assert [(layers[0], layers[-1]) for layers in thirds] == [(1, 10), (11, 20), (21, 29)]


@pytest.mark.parametrize("n_layers", range(6, 81))
def test_the_thirds_are_all_layers_once_and_of_about_one_size(n_layers):
    thirds = [bucket_layers(name, n_layers, tied=True) for name in ("lower", "middle", "upper")]
    together = [layer for layers in thirds for layer in layers]
    assert tuple(together) == bucket_layers("all", n_layers, tied=True) == tuple(range(1, n_layers))
    assert max(map(len, thirds)) - min(map(len, thirds)) <= 2


@pytest.mark.parametrize(
    ("bucket", "layers"),
    [("22", (22,)), ("16-20", (16, 17, 18, 19, 20)), ("16-21/2", (16, 18, 20)), ("0-4/4", (0, 4)), ("29-29", (29,))],
)
def test_ranges_have_both_ends_and_a_stride(bucket, layers):
    assert bucket_layers(bucket, 30, tied=True) == layers


@pytest.mark.parametrize("bucket", ["", "mid", "20-16", "16-20/0", "-3", "1-", "1,2", "16 - 20", "٣", "LOW", "1-2-3"])
def test_what_is_no_bucket_is_refused_with_what_is_one(bucket):
    with pytest.raises(ValueError, match="bucket must be low, high, all"):
        bucket_layers(bucket, 30, tied=True)


@pytest.mark.parametrize("bucket", ["30", "28-30", "0-9999"])
def test_layers_that_the_model_has_not_are_refused(bucket):
    with pytest.raises(ValueError, match="must lie within the layers 0 to 29"):
        bucket_layers(bucket, 30, tied=True)


@pytest.mark.parametrize("n_layers", [1, 2, 3])
@pytest.mark.parametrize("bucket", BUCKETS)
def test_a_shallow_model_has_a_bucket_or_a_sentence(bucket, n_layers):
    try:
        layers = bucket_layers(bucket, n_layers, tied=True)
    except ValueError as error:
        assert "must lie within the layers" in str(error)  # noqa: PT017
    else:
        assert all(0 <= layer < n_layers for layer in layers)
