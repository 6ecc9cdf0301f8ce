"""The mirror as models, and the admin over them."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import models as orm
from django.test import Client

from hookline.adapters.django import hooks, models
from hookline.testing.signed import signed_request

from ..receiver.company import Company
from .shop.models import Letter, Seat
from .shop.settings import SECRET
from .test_django import post


def take(*events: dict[str, Any]) -> None:
    """Through the door and into the mirror."""
    hooks.drain()
    for event in events:
        signed = signed_request(json.dumps(event).encode(), SECRET, timestamp_ms=time.time_ns() // 1_000_000)
        assert post(signed).status_code == 200
    hooks.drain()


def test_models_show_the_mirror_and_what_of_it_is_alive(shop: str) -> None:
    """`live` leaves out the dead and what died with its parents; relations too, and in joins and subqueries."""
    company = Company()
    take(
        company.organization("created"),
        company.directory("activated"),
        company.user("created"),
        company.user("created", "user_2"),
        company.group("created"),
        company.member("added"),
        company.user("deleted", "user_2"),
        company.directory("activated", "dir_2"),
        company.user("created", "user_3", directory_id="dir_2"),
        company.directory("deleted", "dir_2"),
    )
    Seat.objects.create(user_id="user_1", place="window")
    Seat.objects.create(user_id="user_2", place="door")

    assert sorted(user.pk for user in models.DirectoryUser.objects.all()) == ["user_1", "user_2", "user_3"]
    assert [user.pk for user in models.DirectoryUser.live.filter(state="active", is_active=1)] == ["user_1"]
    assert [member.user_id for member in models.DirectoryMembership.live.all()] == ["user_1"]
    assert models.DirectoryUser.live.get().data["email"] == "user_1@acme.example"
    assert [seat.place for seat in Seat.objects.filter(user__in=models.DirectoryUser.live.all())] == ["window"]
    assert [seat.user.email for seat in Seat.objects.select_related("user").order_by("pk")] == [
        "user_1@acme.example",
        "user_2@acme.example",
    ]
    assert models.DirectoryUser.live.filter(seats__place="window").count() == 1
    assert models.DirectoryUser.live.aggregate(count=orm.Count("pk")) == {"count": 1}
    for model in (*models.OBJECTS, *models.RELATIONS):
        assert list(model.live.all()[:1]) == list(model.live.all())[:1]


def test_models_are_read_only(sqlite_shop: str) -> None:
    """What an app wrote there, the next event would overwrite, or not."""
    take(Company().user("created"))
    user = models.DirectoryUser.live.get()

    with pytest.raises(TypeError, match="DirectoryUser is read-only"):
        user.save()
    with pytest.raises(TypeError, match="DirectoryUser is read-only"):
        user.delete()


@pytest.fixture
def clerk(shop: str) -> Client:
    """Somebody who may look, and have things done again."""
    return _logged_in("clerk", "change_handlerrun")


def _logged_in(name: str, *more: str) -> Client:
    user = User.objects.create_user(name, password="of the tests", is_staff=True)
    looks = Permission.objects.filter(content_type__app_label="hookline", codename__startswith="view_")
    user.user_permissions.add(*looks, *Permission.objects.filter(codename__in=more))
    client = Client()
    client.force_login(user)
    return client


def act(client: Client, model: str, action: str, *keys: object) -> Any:
    return client.post(f"/admin/hookline/{model}/", {"action": action, "_selected_action": list(keys)}, follow=True)


def test_every_page_of_the_admin_shows(clerk: Client) -> None:
    """Lists, one object, a search; nowhere a way to change it."""
    company = Company()
    take(company.directory("activated"), company.user("created"))
    pages = [f"/admin/hookline/{model._meta.model_name}/" for model in models.OBJECTS]
    pages += [
        "/admin/hookline/directoryuser/?q=user_1",
        "/admin/hookline/directoryuser/user_5F1/change/",
        "/admin/hookline/inboxentry/?outcome__outcome=applied",
        "/admin/hookline/inboxentry/1/change/",
        "/admin/hookline/handlerrun/?state=succeeded",
        "/admin/hookline/handlerrun/1/change/",
    ]
    answers = {page: clerk.get(page) for page in pages}

    assert {page: answer.status_code for page, answer in answers.items()} == dict.fromkeys(pages, 200)
    assert b"user_1@acme.example" in answers["/admin/hookline/directoryuser/?q=user_1"].content
    assert b"applied" in answers["/admin/hookline/inboxentry/?outcome__outcome=applied"].content
    assert all(b'name="_save"' not in answer.content for answer in answers.values())
    assert clerk.get("/admin/hookline/directoryuser/add/").status_code == 403


def test_a_dead_letter_is_tried_again_from_the_admin(clerk: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once more, by whoever may; and not by whoever may only look."""
    monkeypatch.setattr(Letter.objects, "using", None)
    take(Company().user("created"))
    models.HandlerRun.objects.update(state="failed")
    monkeypatch.undo()
    looked = act(_logged_in("reader"), "handlerrun", "try_again", 1).content
    hooks.drain()
    before = Letter.objects.count()

    answer = act(clerk, "handlerrun", "try_again", 1)
    hooks.drain()

    assert b"will be tried again" not in looked
    assert before == 0
    assert b"1 will be tried again" in answer.content
    assert [(run.state, run.attempt) for run in models.HandlerRun.objects.all()] == [("succeeded", 2)]
    assert Letter.objects.count() == 1


def test_entries_are_replayed_and_dead_ones_applied_from_the_admin(clerk: Client) -> None:
    """A replay calls handlers once more; applying again is for what was set aside."""
    take(Company().user("created"))
    replayed = act(clerk, "inboxentry", "replay", 1)
    hooks.drain()
    models.InboxOutcome.objects.update(outcome="dead")
    applied = act(clerk, "inboxentry", "apply_again", 1)
    hooks.drain()

    assert b"1 will be replayed" in replayed.content
    assert b"1 will be applied again" in applied.content
    assert [entry.outcome.outcome for entry in models.InboxEntry.objects.select_related("outcome")] != ["dead"]
    assert Letter.objects.count() == 2
