"""Events told one after the other: what was told is remembered, and time is the clock's."""

from __future__ import annotations

import pytest

from hookline.testing import Story, TurnedClock
from hookline.wire.catalogue import CATALOGUE, sample, sampled_types
from hookline.wire.event import Event
from hookline.wire.timestamps import format_ms, parse_us

NOW = "2023-11-14T22:13:20.000Z"
LATER = "2023-11-14T22:13:20.001Z"


@pytest.fixture
def story() -> Story:
    return Story(TurnedClock())


@pytest.mark.parametrize("name", sampled_types())
def test_every_type_can_be_told_now(story: Story, name: str) -> None:
    """It is the sample's, at the clock's time: nothing in it is from the future but what expires or is planned."""
    event = story(name)

    assert (event.type, event.data.keys() | {"previous_attributes"}) == (
        name,
        sample(name).keys() | {"previous_attributes"},
    )
    assert event.created_us == parse_us(NOW)
    for times in (event.data, *(one for one in event.data.values() if isinstance(one, dict))):
        for at in ("created_at", "updated_at"):
            assert parse_us(times.get(at, NOW)) <= parse_us(NOW)
    if CATALOGUE[name].kind == "F" and "updated_at" in sample(name):
        assert event.data["updated_at"] == NOW


def test_the_same_story_has_the_same_bytes() -> None:
    """Ids are stable from run to run, and each event is later than the one before, though the clock stands still."""

    def told() -> list[Event]:
        story = Story(TurnedClock())
        for word in ("created", "updated", "updated", "deleted"):
            story(f"dsync.user.{word}")
        return story.told

    assert [event.raw for event in told()] == [event.raw for event in told()]
    clocks = [(event.created_us, event.id) for event in told()]
    assert [created_us for created_us, _ in clocks] == [parse_us(NOW) + n * 1_000 for n in range(4)]
    assert len({id_ for _, id_ in clocks}) == 4


def test_time_is_the_clocks() -> None:
    """What is created has the time of now, as creation and as update; an update leaves the creation where it was."""
    clock = TurnedClock()
    story = Story(clock)
    created = story("dsync.user.created")
    clock.advance(60_000)
    updated = story("dsync.user.updated")

    assert (created.data["created_at"], created.data["updated_at"]) == (NOW, NOW)
    assert (updated.data["created_at"], updated.data["updated_at"]) == (NOW, "2023-11-14T22:14:20.000Z")


def test_what_is_not_said_stays_as_it_was_told(story: Story) -> None:
    """An update carries the rest of the object, and what changed; a deletion its last state."""
    story("dsync.user.created", id="directory_user_2", first_name="Grace")
    updated = story("dsync.user.updated", id="directory_user_2", state="inactive")
    story("dsync.user.updated", first_name="Somebody", state="active")
    deleted = story("dsync.user.deleted", id="directory_user_2")

    assert (updated.data["first_name"], updated.data["state"]) == ("Grace", "inactive")
    assert updated.data["previous_attributes"] == {"state": "active"}
    assert "previous_attributes" not in deleted.data
    assert {**deleted.data, "previous_attributes": {"state": "active"}} == updated.data


def test_the_first_update_of_an_object_changes_what_was_not_said_before(story: Story) -> None:
    """Nothing was told of it: it was as the sample's update says, but for what is given."""
    updated = story("dsync.user.updated", last_name="Lovelace")

    assert updated.data["previous_attributes"]["last_name"] == "Okafor"
    assert updated.data["last_name"] == "Lovelace"
    assert "email" not in updated.data["previous_attributes"]


def test_events_stand_for_their_objects(story: Story) -> None:
    """By its id where the payload names it, whole where the payload holds it."""
    directory = story("dsync.activated", id="directory_2", organization_id="org_2")
    user = story("dsync.user.created", id="directory_user_2", directory=directory)
    story("dsync.user.updated", id="directory_user_2", first_name="Grace")
    group = story("dsync.group.created", id="directory_group_2", directory=directory)
    old = story("dsync.group.user_added", user=user, group=group)
    new = story("dsync.group.user_added", user={**user.data, "first_name": "Ada"}, group=group)

    assert (user.data["directory_id"], user.data["organization_id"]) == ("directory_2", "org_2")
    assert (old.data["user"], old.data["group"], old.data["directory_id"]) == (user.data, group.data, "directory_2")
    assert new.data["user"]["first_name"] == "Ada"


def test_a_relation_holds_what_was_told_last(story: Story) -> None:
    """Its ends are the sample's objects, as they are by now."""
    story("dsync.user.updated", state="inactive")
    added = story("dsync.group.user_added")

    assert added.data["user"]["state"] == "inactive"
    assert "previous_attributes" not in added.data["user"]


def test_a_relation_is_in_the_directory_of_whom_it_was_given(story: Story) -> None:
    user = story("dsync.user.created", id="directory_user_2", directory_id="directory_2")

    assert story("dsync.group.user_added", user=user).data["directory_id"] == "directory_2"
    assert story("dsync.group.user_added", user=user, directory_id="directory_3").data["directory_id"] == "directory_3"


def test_what_is_given_counts(story: Story) -> None:
    """Id, times and context are as asked; whatever is told next is later."""
    event = story(
        "dsync.user.created",
        event_id="event_1",
        created_at="2030-01-01T00:00:00Z",
        context={"client_id": "client_1"},
        updated_at=NOW,
    )

    assert (event.id, event.context, event.data["updated_at"]) == ("event_1", {"client_id": "client_1"}, NOW)
    assert event.data["created_at"] == format_ms(event.created_us or 0) == "2030-01-01T00:00:00.000Z"
    assert format_ms(story("dsync.user.updated").created_us or 0) == "2030-01-01T00:00:00.001Z"


def test_what_cannot_be_told(story: Story) -> None:
    """A type without a sample, and an event where no object can be, are said so."""
    with pytest.raises(LookupError, match=r"nearest is 'dsync\.user\.created'"):
        story("dsync.usr.created")
    group = story("dsync.group.created")
    with pytest.raises(
        TypeError,
        match=r"for directory= \(directory\) or organization= \(organization\), got dsync.group.created for group=",
    ):
        story("dsync.user.created", group=group)
    with pytest.raises(TypeError, match=r"got dsync.group.created for directory="):
        story("dsync.user.created", directory=group)
    with pytest.raises(TypeError, match=r"for user= \(directory_user\) or group="):
        story("dsync.group.user_added", user=group)
    assert [event.type for event in story.told] == ["dsync.group.created"]
