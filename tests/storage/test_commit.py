"""Group commit: one transaction for many, an answer each."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from hookline.errors import OutcomeUnknown, StorageUnavailable
from hookline.storage.commit import GATHER_TURNS, GroupCommit


class Written:
    """A commit function that keeps its batches; `held` makes it wait."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.held = threading.Event()
        self.held.set()
        self.started = threading.Event()
        self.error: Exception | None = None

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.started.set()
        assert self.held.wait(10)
        if self.error:
            self.batches.append(list(items))
            raise self.error
        if any(item < 0 for item in items):
            raise ValueError(f"bad item among {len(items)}")
        self.batches.append(list(items))
        return [item * 10 for item in items]


@pytest.fixture
def written() -> Written:
    return Written()


def test_those_who_wait_share_a_commit(written: Written) -> None:
    """What arrives while a batch is written is the next batch, whole and in order, with an answer each."""
    group = GroupCommit(written, name="test")

    async def run() -> list[int]:
        written.held.clear()
        first = asyncio.ensure_future(group.put(0))
        await asyncio.to_thread(written.started.wait)
        rest = [asyncio.ensure_future(group.put(item)) for item in range(1, 100)]
        await asyncio.sleep(0)
        written.held.set()
        return await asyncio.gather(first, *rest)

    answers = asyncio.run(run())
    group.close()

    assert answers == [item * 10 for item in range(100)]
    assert written.batches == [[0], list(range(1, 100))]


def test_a_batch_has_an_upper_size(written: Written) -> None:
    """More than `max_batch` waiting items take several commits."""
    group = GroupCommit(written, name="test", max_batch=7)

    async def run() -> list[int]:
        return await asyncio.gather(*(group.put(item) for item in range(30)))

    answers = asyncio.run(run())
    group.close()

    assert answers == [item * 10 for item in range(30)]
    assert max(map(len, written.batches)) <= 7


def test_only_the_bad_item_fails(written: Written) -> None:
    """A batch that fails is rerun item by item."""
    group = GroupCommit(written, name="test")

    async def run() -> list[int | BaseException]:
        return await asyncio.gather(*(group.put(item) for item in (1, -2, 3)), return_exceptions=True)

    one, bad, three = asyncio.run(run())
    group.close()

    assert (one, three) == (10, 30)
    assert isinstance(bad, ValueError)
    assert str(bad) == "bad item among 1"


@pytest.mark.parametrize("error", [StorageUnavailable("away"), OutcomeUnknown("who knows")])
def test_an_absent_database_fails_the_batch_once(written: Written, error: Exception) -> None:
    """No rerun when the database is away (each would wait again) or the outcome unknown (each could write twice)."""
    group = GroupCommit(written, name="test")
    written.error = error

    async def run() -> list[int | BaseException]:
        return await asyncio.gather(*(group.put(item) for item in range(3)), return_exceptions=True)

    answers = asyncio.run(run())
    group.close()

    assert all(isinstance(answer, type(error)) for answer in answers)
    assert written.batches == [[0, 1, 2]]


def test_those_who_wait_behind_an_absent_database_share_its_answer(written: Written) -> None:
    """Waiting for it once is enough: however many there are, none waits for one batch after another to time out."""
    group = GroupCommit(written, name="test", max_batch=10)

    async def run() -> list[int | BaseException]:
        written.held.clear()
        first = asyncio.ensure_future(group.put(0))
        await asyncio.to_thread(written.started.wait)
        rest = [asyncio.ensure_future(group.put(item)) for item in range(1, 50)]
        await asyncio.sleep(0)
        written.error = StorageUnavailable("away")
        written.held.set()
        failed = await asyncio.gather(first, *rest, return_exceptions=True)
        written.error = None
        return [*failed, await group.put(50)]

    answers = asyncio.run(run())
    group.close()

    assert {type(answer) for answer in answers[:-1]} == {StorageUnavailable}
    assert answers[-1] == 500
    assert written.batches == [[0], [50]]


def test_a_caller_that_goes_away_costs_the_others_nothing(written: Written) -> None:
    """A cancelled wait (a client that hung up) leaves the batch and the loop whole."""
    group = GroupCommit(written, name="test")

    async def run() -> list[int]:
        written.held.clear()
        puts = [asyncio.ensure_future(group.put(item)) for item in range(3)]
        await asyncio.to_thread(written.started.wait)
        puts[1].cancel()
        await asyncio.sleep(0)
        written.held.set()
        kept = [await puts[0], await puts[2]]
        return [*kept, await group.put(4)]

    answers = asyncio.run(run())
    group.close()

    assert answers == [0, 20, 40]
    assert written.batches[0] == [0, 1, 2]


def test_one_group_serves_several_loops(written: Written) -> None:
    """Each event loop gets its answers in its own thread; loops that are gone are forgotten."""
    group = GroupCommit(written, name="test")

    async def run(item: int) -> int:
        return await group.put(item)

    answers = [asyncio.run(run(item)) for item in range(3)]
    group.close()

    assert answers == [0, 10, 20]
    assert len(group._lanes) == 1


def test_threads_lead_in_turn(written: Written) -> None:
    """Plain threads share commits too, and each gets its own answer or its own error."""
    group = GroupCommit(written, name="test", max_batch=5)
    answers: dict[int, object] = {}

    def put(item: int) -> None:
        try:
            answers[item] = group.put_inline(item)
        except ValueError as error:
            answers[item] = error

    written.held.clear()
    threads = [threading.Thread(target=put, args=(item,)) for item in (*range(40), -1)]
    for thread in threads:
        thread.start()
    written.held.set()
    for thread in threads:
        thread.join(10)

    assert [answers[item] for item in range(40)] == [item * 10 for item in range(40)]
    assert isinstance(answers[-1], ValueError)
    assert len(written.batches) < 40
    assert group.put_inline(7) == 70


def trickle(group: GroupCommit[int, int], count: int) -> list[int]:
    """Put one item with every turn of the loop."""

    async def put_late(item: int) -> int:
        for _ in range(item):
            await asyncio.sleep(0)
        return await group.put(item)

    async def run() -> list[int]:
        return await asyncio.gather(*(put_late(item) for item in range(count)))

    return asyncio.run(run())


def test_what_arrives_turn_by_turn_shares_the_first_commit(written: Written) -> None:
    """The first of many requests that are already there does not run off with a commit of its own."""
    group = GroupCommit(written, name="test")

    answers = trickle(group, 8)
    group.close()

    assert answers == [item * 10 for item in range(8)]
    assert written.batches == [list(range(8))]


def test_a_stream_without_end_does_not_put_a_commit_off_for_ever(written: Written) -> None:
    """After some turns the batch goes, whatever else is coming."""
    group = GroupCommit(written, name="test")

    trickle(group, GATHER_TURNS * 4)
    group.close()

    assert 1 < len(written.batches[0]) <= GATHER_TURNS + 1


class Interrupt(BaseException):
    """What a signal, or a server's timeout, raises wherever a thread happens to be."""


def test_an_interrupted_leader_leaves_the_others_a_leader() -> None:
    """Its own batch is in doubt, for all who shared it; the next thread writes as ever."""
    began, go_on = threading.Event(), threading.Event()

    def commit(items: Sequence[int]) -> list[int]:
        if 1 in items:
            began.set()
            assert go_on.wait(10)
            raise Interrupt
        return list(items)

    group = GroupCommit(commit, name="test")
    answers: dict[int, object] = {}

    def put(item: int) -> None:
        try:
            answers[item] = group.put_inline(item)
        except BaseException as error:
            answers[item] = type(error)

    leader = threading.Thread(target=put, args=(1,), daemon=True)
    leader.start()
    assert began.wait(10)
    waiting = threading.Thread(target=put, args=(2,), daemon=True)
    waiting.start()
    go_on.set()
    leader.join(10)
    waiting.join(10)
    later = threading.Thread(target=put, args=(3,), daemon=True)
    later.start()
    later.join(10)

    assert answers == {1: Interrupt, 2: 2, 3: 3}


def test_an_interrupted_waiter_is_nobodys_leader(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its item is taken back, and who comes after it is written all the same."""
    written.held.clear()
    group = GroupCommit(written, name="test")
    answers: list[int] = []
    leader = threading.Thread(target=lambda: answers.append(group.put_inline(1)), daemon=True)
    leader.start()
    assert written.started.wait(10)

    class Interrupted(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            raise Interrupt

    with monkeypatch.context() as patch:
        patch.setattr("hookline.storage.commit.threading.Event", Interrupted)
        with pytest.raises(Interrupt):
            group.put_inline(2)
    written.held.set()
    leader.join(10)
    later = threading.Thread(target=lambda: answers.append(group.put_inline(3)), daemon=True)
    later.start()
    later.join(10)

    assert answers == [10, 30]
    assert written.batches == [[1], [3]]


def test_an_interrupted_batch_answers_its_coroutines() -> None:
    """They learn that it is in doubt, and the next batch is written."""

    def commit(items: Sequence[int]) -> list[int]:
        if 1 in items:
            raise Interrupt
        return list(items)

    async def both() -> tuple[object, int]:
        group = GroupCommit(commit, name="test")
        async with asyncio.timeout(10):
            with pytest.raises(OutcomeUnknown) as found:
                await group.put(1)
            second = await group.put(2)
        group.close()
        return found.value, second

    _, second = asyncio.run(both())

    assert second == 2
