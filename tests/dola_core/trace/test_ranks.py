"""Ranks: counted as sorting would, and kept in a byte each."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from dola_core.trace.ranks import EXACT, MOST, best_tokens, decode_ranks, encode_ranks, ranks_of


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(2, 300))
def test_a_rank_is_one_more_than_the_tokens_that_are_more_probable(seed, rows, size):
    draw = torch.Generator().manual_seed(seed)
    log_q = torch.randint(-20, 0, (rows, size), generator=draw) / 4.0  # coarse, so that some are equal
    ids = torch.randint(0, size, (5,), generator=draw)
    naive = [[[1 + sum(other > row[i] for other in row.tolist())] for row in log_q] for i in ids]
    assert ranks_of(log_q[:, None], ids[None]).tolist() == naive


def test_every_row_has_its_own_tokens_ranked():
    log_q = torch.randn(4, 3, 50, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[1, 2], [3, 4], [5, 6]])
    together = ranks_of(log_q, ids, scratch=torch.full_like(log_q, torch.nan))
    for row in range(3):
        assert torch.equal(together[:, :, row], ranks_of(log_q[:, row, None], ids[row, None])[:, :, 0])


def test_a_rank_in_a_large_vocabulary_is_exact():
    log_q = torch.randn(2, 1, 150_000, generator=torch.Generator().manual_seed(0))
    last = log_q.argmin(-1)
    assert ranks_of(log_q, last.T)[:, :, 0].diagonal().tolist() == [150_000, 150_000]


@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 90), st.booleans())
def test_the_best_token_is_the_lowest_of_the_most_probable_ones(seed, layers, size, impossible):
    draw = torch.Generator().manual_seed(seed)
    log_q = torch.randint(-3, 1, (layers, 2, size), generator=draw) / 4.0  # coarse, so that some are equal
    if impossible:
        log_q[torch.rand(log_q.shape, generator=draw) < 0.5] = -torch.inf
    naive = [[row.index(max(row)) for row in rows] for rows in log_q.tolist()]
    assert best_tokens(log_q).tolist() == naive == log_q.max(-1).indices.tolist()


def test_a_byte_tells_small_ranks_exactly_and_large_ones_within_three_percent():
    ranks = np.arange(1, MOST + 1)
    told = decode_ranks(encode_ranks(ranks))
    assert told[:EXACT].tolist() == ranks[:EXACT].tolist()
    assert (np.abs(told / ranks - 1) < 0.03).all()
    assert (np.diff(told) >= 0).all()
    assert decode_ranks(encode_ranks(np.array([MOST, 2 * MOST, 10**9]))).tolist() == [MOST] * 3


def test_every_byte_is_a_rank_of_its_own():
    codes = np.arange(256, dtype=np.uint8)
    assert encode_ranks(decode_ranks(codes)).tolist() == codes.tolist()
