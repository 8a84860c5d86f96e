"""A budget that addresses share: never more than there is, something left for a newcomer, turns for those who wait."""

import asyncio
from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.server.bounds.budget import MOST_OWN, MOST_PASSED, Budget, FullError
from tests.app.loops import run_apart

TOTAL = 1000
ASKED = st.lists(st.tuples(st.sampled_from("ABCDE"), st.integers(1, 400), st.booleans()), max_size=60)


@given(ASKED)
def test_the_sum_is_bounded_and_what_is_given_back_is_free_again(asked):
    budget, parts = Budget(TOTAL), []
    for address, size, gives_back in asked:
        if gives_back and parts:
            parts.pop(0).release()
            continue
        try:
            parts.append(budget.take(address, size))
        except FullError:
            assert size + sum(part.size for part in parts if part.address == address) > budget.free
        assert budget.held == sum(part.size for part in parts) <= TOTAL
    for part in parts * 2:  # the second time nothing happens
        part.release()
    assert (budget.held, budget._of) == (0, Counter())


@pytest.mark.parametrize("addresses", range(1, 7))
def test_however_many_addresses_take_all_they_can_each_has_as_much_and_a_newcomer_finds_as_much(addresses):
    budget, names = Budget(TOTAL), [str(number) for number in range(addresses)]
    for name in names * TOTAL:
        with suppress(FullError):
            budget.take(name, 1)
    share = TOTAL // (addresses + 1)
    assert all(abs(budget._of[name] - share) <= addresses for name in names)
    assert budget.take("newcomer", share - addresses)


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def served(first: str, waiting: str, sizes: dict[str, int]) -> list[str]:
    """The addresses in the order in which they get room, if `first` gives its part back only when all of them wait."""

    async def work() -> list[str]:
        budget, order = Budget(TOTAL), []
        parts = [budget.take(name, 500) for name in first]

        async def wait(name: str) -> None:
            with await budget.wait(name, sizes[name], 60):
                order.append(name)
                await asyncio.sleep(0)

        tasks = [asyncio.create_task(wait(name)) for name in waiting]
        await settled()
        assert order == []
        for part in parts:
            part.release()
        await asyncio.gather(*tasks)
        assert (budget.held, len(budget._waiting)) == (0, 0)
        return order

    return run_apart(work())


def test_addresses_take_turns():
    assert served("AB", "AAAAB", {"A": 600, "B": 600}) == [*"ABAAA"]


def test_one_who_waits_for_much_lets_some_come_first_and_is_not_passed_over_for_ever():
    """While one holds a part for good, some who ask for little come first; then nobody does."""

    async def work() -> tuple[int, bool]:
        budget, came = Budget(TOTAL), 0
        part = budget.take("A", 400)
        much = asyncio.create_task(budget.wait("C", 900, 60))
        await settled()
        for number in range(3 * MOST_PASSED):
            little = asyncio.create_task(budget.wait(f"D{number}", 100, 60))
            await settled()
            if not little.done():
                break
            came += 1
            (await little).release()
        part.release()
        (await much).release()
        (await little).release()
        assert (budget.held, len(budget._waiting)) == (0, 0)
        return came, much.done()

    assert run_apart(work()) == (MOST_PASSED, True)


def test_who_waits_too_long_is_refused_and_leaves_no_trace():
    async def work() -> None:
        budget = Budget(TOTAL)
        parts = [budget.take("A", 500), budget.take("B", 500)]
        with pytest.raises(FullError) as refused:
            await budget.wait("C", 600, 0.01)
        assert not refused.value.is_own
        waiting = asyncio.create_task(budget.wait("C", 600, 60))
        await settled()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        for part in parts:
            part.release()
        assert (budget.held, len(budget._waiting)) == (0, 0)

    run_apart(work())


def test_only_so_many_wait():
    async def work() -> None:
        budget = Budget(TOTAL)
        parts = [budget.take("A", 500), budget.take("B", 500)]
        tasks = [asyncio.create_task(budget.wait("C", 600, 60)) for _ in range(MOST_OWN + 3)]
        await settled()
        refused = [task for task in tasks if task.done()]
        assert [task.exception().is_own for task in refused] == [True] * 3
        for part in parts:
            part.release()
        for task in tasks:
            if task not in refused:
                (await task).release()

    run_apart(work())
