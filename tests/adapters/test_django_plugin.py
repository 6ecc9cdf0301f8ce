"""The pytest plugin in a Django project: fixtures inside the blocks that Django's test cases roll back."""

from __future__ import annotations

import pytest

import hookline.testing.chaos  # noqa: F401 - a pytest within this one forgets what it was the first to load
from hookline.adapters.django import hooks

from ..apps import rows_at

pytest_plugins = ["pytester"]

CASES = """
import pytest
from django.db import transaction
from django.test import Client, TestCase, TransactionTestCase

from hookline.adapters.django.models import DirectoryUser
from hookline.errors import TransactionMisuse
from tests.adapters.shop.models import Letter


class Fixtures:
    @pytest.fixture(autouse=True)
    def given(self, hookline_inbox, hookline_event, hookline_signed):
        self.inbox, self.event, self.signed = hookline_inbox, hookline_event, hookline_signed


class TestRolledBack(Fixtures, TestCase):
    def test_a_webhook(self):
        ada = self.event("dsync.user.created", first_name="Ada")
        for _ in range(2):
            self.assertEqual(self.client.post(**self.signed(ada).django).status_code, 200)
            self.inbox.drain()
        self.inbox.assert_handled(ada, by="shop.letters")
        self.assertEqual([one.event_id for one in Letter.objects.all()], [ada.id])
        self.assertEqual([one.first_name for one in DirectoryUser.live.all()], ["Ada"])

    def test_once_more(self):
        self.test_a_webhook()

    def test_settings(self):
        with self.settings(HOOKLINE={"WEBHOOK_SECRETS": ["whsec_another_one_0001"]}):
            ada = self.event("dsync.user.created")
            self.assertEqual(self.client.post(**self.signed(ada).django).status_code, 401)
            request = self.signed(ada, secret="whsec_another_one_0001")
            self.assertEqual(self.client.post(**request.django).status_code, 200)

    def test_a_block_of_its_own(self):
        with transaction.atomic():
            with pytest.raises(TransactionMisuse, match="within an atomic"):
                self.inbox.drain()


@pytest.mark.usefixtures("hookline_inline")
class TestInline(Fixtures, TestCase):
    def test_a_webhook(self):
        ada = self.event("dsync.user.created")
        self.assertEqual(self.client.post(**self.signed(ada).django).status_code, 200)
        self.assertEqual([one.event_id for one in Letter.objects.all()], [ada.id])


class TestKept(Fixtures, TransactionTestCase):
    def test_a_webhook(self):
        self.inbox.clear()
        ada = self.event("dsync.user.created")
        self.assertEqual(self.client.post(**self.signed(ada).django).status_code, 200)
        self.inbox.drain()
        self.inbox.assert_handled(ada)
        self.assertEqual([one.event_id for one in Letter.objects.all()], [ada.id])

    def test_once_more(self):
        self.test_a_webhook()
"""

CHAOS = """
import pytest
from django.db import connection
from django.test import TestCase, TransactionTestCase

from hookline.adapters.django import hooks
from tests.adapters.shop.models import Letter, Seat


def by_changes(change, tx):
    Seat.objects.using(tx).filter(user_id=change.id).delete()
    if change.after is not None:
        Seat.objects.using(tx).create(user_id=change.id, place=change.after["first_name"])


def by_events(event, tx):
    Seat.objects.using(tx).filter(user_id=event.data["id"]).delete()
    Seat.objects.using(tx).create(user_id=event.data["id"], place=event.data["first_name"])


class Trial:
    @pytest.fixture(autouse=True)
    def given(self, hookline_event, hookline_chaos, monkeypatch):
        self.event, self.chaos = hookline_event, hookline_chaos
        monkeypatch.setattr(hooks, "handlers", type(hooks.handlers)())

    def converges(self):
        Letter.objects.create(event_id="before")
        self.event("dsync.user.created", first_name="Ada")
        self.event("dsync.user.updated", first_name="Augusta")
        self.chaos(
            self.event.told,
            # A query, which is asked at the end of each run.
            state=lambda: Seat.objects.order_by("user_id").values("user_id", "place"),
            runs=4,
            lost=0,
        )

    def test_right(self):
        hooks.on_change("directory_user")(by_changes)
        self.converges()
        self.assertEqual([Seat.objects.count(), Letter.objects.count()], [0, 1])

    def test_wrong(self):
        hooks.on("dsync.user.*")(by_events)
        self.converges()


class TestRolledBack(Trial, TestCase):
    pass


class TestKept(Trial, TransactionTestCase):
    pass
"""


def test_chaos_in_django_test_cases(shop: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run is rolled back by itself, within `TestCase` and without: nothing need be said of how to begin anew."""
    monkeypatch.setattr("hookline.testing.chaos.SIMPLER_TRIES", 0)  # each would be a run
    pytester.makepyfile(CHAOS)

    run = pytester.runpytest_inprocess("-p", "no:hookline", "-p", "hookline.testing.plugin", "-p", "no:xdist")

    run.assert_outcomes(passed=2, failed=2)
    # In CI pytest's summary says all of it once more.
    told = [line for line in run.outlines if line.startswith("E ")]
    assert sum("handlers end otherwise after disorder (seed=" in line for line in told) == 2
    run.stdout.fnmatch_lines(["E * - [[]{'place': 'Augusta'*", "E * + [[]{'place': 'Ada'*"])
    assert rows_at(shop, "select count(*) from hookline_inbox") == [(0,)]


def test_fixtures_in_django_test_cases(shop: str, pytester: pytest.Pytester) -> None:
    """Everything happens on the test's thread and connection: `TestCase` rolls it back, handlers' writes and all, and
    no test sees another's. `TransactionTestCase` keeps it, and what Django empties then are not Hookline's tables.
    """
    pytester.makepyfile(CASES)

    run = pytester.runpytest_inprocess("-p", "no:hookline", "-p", "hookline.testing.plugin", "-p", "no:xdist")

    run.assert_outcomes(passed=7)
    assert hooks.clock.__class__.__name__ == "SystemClock"
    assert rows_at(shop, "select count(*) from hookline_inbox") == [(1,)]
