"""The gate before work beside the model: a few pieces at a time, by turns of the addresses."""

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.server.gate import BusyError, Gate
from tests.app.loops import run_apart


async def settled() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def served(gate: Gate, addresses: list[str]) -> tuple[list[str], int]:
    """The addresses in the order in which their work is done if all come at once, and how much went on at once."""
    order, going, most = [], 0, 0

    async def work(address: str) -> None:
        nonlocal going, most
        async with gate.turn(address):
            going += 1
            most = max(most, going)
            order.append(address)
            await asyncio.sleep(0)
            going -= 1

    await asyncio.gather(*map(work, addresses))
    return order, most


def test_addresses_take_turns_however_much_one_of_them_sends():
    order, _ = run_apart(served(Gate(at_once=1), [*"AAAAAAAA", *"BB", "C"]))
    assert order[:6] == [*"AABCAB"], "the first goes in at once; then each address in turn"


@given(st.lists(st.sampled_from("ABCD"), max_size=30), st.integers(1, 4))
def test_everything_is_served_once_and_never_more_at_once_than_may(addresses, at_once):
    gate = Gate(at_once)
    order, most = run_apart(served(gate, addresses))
    assert sorted(order) == sorted(addresses)
    assert most <= at_once
    assert (gate._going, len(gate._waiting)) == (0, 0)


@pytest.mark.parametrize(("addresses", "refused"), [("AAAAAA", 3), ("ABCDEFGH", 3)], ids=["one address", "all"])
def test_what_finds_no_room_is_refused_at_once(addresses, refused):
    async def rush() -> int:
        gate, held = Gate(at_once=1, most=4, share=2), asyncio.Event()

        async def work(address: str) -> None:
            async with gate.turn(address):
                await held.wait()

        tasks = [asyncio.create_task(work(address)) for address in addresses]
        await settled()
        full = [task for task in tasks if task.done()]
        assert all(isinstance(task.exception(), BusyError) for task in full)
        held.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        return len(full)

    assert run_apart(rush()) == refused


def test_who_goes_away_leaves_no_place_taken():
    """Whatever of some waiting pieces is cancelled, and when, the others are served and the gate is free again."""

    async def leave(gone: tuple[int, ...], *, late: bool) -> list[int]:
        gate, done, held = Gate(at_once=1), [], asyncio.Event()

        async def work(number: int) -> None:
            async with gate.turn("AB"[number % 2]):
                await held.wait()
                done.append(number)

        tasks = [asyncio.create_task(work(number)) for number in range(4)]
        await settled()
        if late:
            held.set()
            await asyncio.sleep(0)
        for number in gone:
            tasks[number].cancel()
        held.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (gate._going, len(gate._waiting)) == (0, 0)
        return done

    for late in (False, True):
        for size in range(4):
            for gone in itertools.combinations(range(4), size):
                done = run_apart(leave(gone, late=late))
                assert set(done) >= set(range(4)) - set(gone)


def test_while_a_model_runs_one_goes_on_at_a_time_and_the_model_has_as_long_between_them():
    async def work(*, model_runs: bool) -> tuple[int, float]:
        gate, going, most = Gate(at_once=2, model_runs=lambda: model_runs), 0, 0

        async def piece(address: str) -> None:
            nonlocal going, most
            async with gate.turn(address):
                going += 1
                most = max(most, going)
                await asyncio.sleep(0.05)
                going -= 1

        loop = asyncio.get_running_loop()
        begun = loop.time()
        await asyncio.gather(*map(piece, "ABAB"))
        return most, loop.time() - begun

    most, _ = run_apart(work(model_runs=False))
    assert most == 2
    most, seconds = run_apart(work(model_runs=True))
    assert most == 1
    assert seconds > 4 * 0.05 + 2.9 * 0.05, "four pieces of work, and as long after each of the first three"


def test_places_are_filled_when_the_model_has_ended():
    async def work() -> int:
        runs, going, held = True, 0, asyncio.Event()
        gate = Gate(at_once=2, model_runs=lambda: runs)

        async def piece(address: str) -> None:
            nonlocal going
            async with gate.turn(address):
                going += 1
                await held.wait()

        tasks = [asyncio.create_task(piece(address)) for address in "ABC"]
        await settled()
        assert going == 1
        runs = False
        tasks.append(asyncio.create_task(piece("D")))
        await settled()
        held.set()
        await asyncio.gather(*tasks)
        assert (gate._going, len(gate._waiting)) == (0, 0)
        return going

    assert run_apart(work()) == 4
