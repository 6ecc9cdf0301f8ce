"""The pytest plugin in a Django project: fixtures inside the blocks that Django's test cases roll back."""

from __future__ import annotations

import pytest

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


def test_fixtures_in_django_test_cases(shop: str, pytester: pytest.Pytester) -> None:
    """Everything happens on the test's thread and connection: `TestCase` rolls it back, handlers' writes and all, and
    no test sees another's. `TransactionTestCase` keeps it, and what Django empties then are not Hookline's tables.
    """
    pytester.makepyfile(CASES)

    run = pytester.runpytest_inprocess("-p", "no:hookline", "-p", "hookline.testing.plugin", "-p", "no:xdist")

    run.assert_outcomes(passed=7)
    assert hooks.clock.__class__.__name__ == "SystemClock"
    assert rows_at(shop, "select count(*) from hookline_inbox") == [(1,)]
