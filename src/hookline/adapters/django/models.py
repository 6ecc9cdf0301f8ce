"""The mirror, the inbox and handler runs as models, to read: Hookline's worker alone writes these tables.

    DirectoryUser.live.filter(organization_id=org.workos_id)       # alive, and its parents too
    DirectoryUser.objects.get(pk="directory_user_01…").data         # all that was ever told of it

    class Seat(models.Model):
        user = models.ForeignKey(DirectoryUser, models.DO_NOTHING, db_constraint=False)

There is one for each mirrored resource, named as it is: `Organization`, `Directory`, `DirectoryUser`, `DirectoryGroup`,
…; `DirectoryMembership` and `GroupMember` for relations. Truth values are 0 and 1, times the source's text. The key of
an object is its id: with several sources in one database, filter by `source`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn

from django.db import models

from hookline.receiver.resources import EDGES, RESOURCES, Edge, Resource, decode

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Most of the models are made below."""


# Columns that are numbers, 0 and 1; all others are text.
_NUMBERS: Final = frozenset({"is_active", "email_verified", "directory_managed", "system"})


class ReadOnly(models.Model):  # type: ignore[misc]
    """What only Hookline writes."""

    class Meta:
        abstract = True

    def save(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is read-only: Hookline's worker writes it")

    def delete(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is read-only: Hookline's worker writes it")


class LiveManager(models.Manager):  # type: ignore[misc]
    """What is alive and whose parents are: what is in the table's `…_live` view, too."""

    def get_queryset(self) -> Any:
        view = self.model.VIEW
        key = {field.name: models.OuterRef(field.name) for field in view._meta.fields}
        return super().get_queryset().filter(models.Exists(view.objects.filter(**key)))


class InboxEntry(ReadOnly):
    """What arrived. Its body stays where it is: `manage.py hookline inbox show ID --body`."""

    seq = models.BigIntegerField(primary_key=True)
    source = models.TextField()
    event_id = models.TextField()
    type = models.TextField(null=True)
    received_ms = models.BigIntegerField()
    reason = models.TextField(null=True)

    class Meta:
        managed = False
        db_table = "hookline_inbox"
        verbose_name_plural = "inbox entries"

    def __str__(self) -> str:
        return str(self.event_id)


class InboxOutcome(ReadOnly):
    """What became of an entry; there is none while it waits."""

    entry = models.OneToOneField(
        InboxEntry, models.DO_NOTHING, db_column="seq", primary_key=True, db_constraint=False, related_name="outcome"
    )
    outcome = models.TextField()
    reason = models.TextField(null=True)
    finished_ms = models.BigIntegerField()

    class Meta:
        managed = False
        db_table = "hookline_inbox_outcomes"

    def __str__(self) -> str:
        return str(self.outcome)


class HandlerRun(ReadOnly):
    """A run of a handler; a dead letter is one whose `state` is `failed`."""

    row_id = models.BigIntegerField(primary_key=True)
    handler = models.TextField()
    object_key = models.TextField(null=True)
    entry = models.ForeignKey(
        InboxEntry, models.DO_NOTHING, db_column="inbox_seq", null=True, db_constraint=False, related_name="runs"
    )
    change_seq = models.BigIntegerField(null=True)
    state = models.TextField()
    due_ms = models.BigIntegerField()
    attempt = models.BigIntegerField()
    error = models.TextField(null=True)
    created_ms = models.BigIntegerField()
    finished_ms = models.BigIntegerField(null=True)

    class Meta:
        managed = False
        db_table = "hookline_runs"

    def __str__(self) -> str:
        return f"{self.handler}, run {self.row_id}"


def class_name(resource: str) -> str:
    """`directory_user` is `DirectoryUser`."""
    return "".join(word.capitalize() for word in resource.split("_"))


def _object_model(resource: Resource) -> Any:
    columns: dict[str, Any] = {
        name: (models.BigIntegerField if name in _NUMBERS else models.TextField)(null=True)
        for name, _ in resource.columns
    }

    def data(self: Any) -> dict[str, Any] | None:
        """The object as it is shown, whole."""
        return decode(self.payload)

    return _model(
        resource.name,
        resource.table,
        {"id": models.CharField(max_length=255, primary_key=True), "source": models.TextField()},
        {
            **columns,
            "payload": models.TextField(null=True),
            "deleted_at": models.TextField(null=True),
            "data": property(data),
            "__str__": lambda self: str(self.id),
        },
    )


def _edge_model(edge: Edge) -> Any:
    ends = [column for _, column in edge.ends]
    scope = () if edge.scope is None else (edge.scope[1],)
    return _model(
        edge.name,
        edge.table,
        {
            "pk": models.CompositePrimaryKey("source", *ends),
            **{name: models.TextField() for name in ("source", *ends)},
        },
        {
            **{name: models.TextField(null=True) for name in scope},
            "deleted_at": models.TextField(null=True),
            "__str__": lambda self: "/".join(str(getattr(self, end)) for end in ends),
        },
    )


def _model(name: str, table: str, key: dict[str, Any], rest: dict[str, Any]) -> Any:
    def made(name: str, table: str, /, **attributes: Any) -> Any:
        # What nobody may change needs no permission for it; a view's rows are looked at through the table's model.
        permissions = () if table.endswith("_live") else ("view",)
        meta = type("Meta", (), {"managed": False, "db_table": table, "default_permissions": permissions})
        return type(name, (ReadOnly,), {"__module__": __name__, "Meta": meta, **attributes})

    view = made(f"{class_name(name)}Live", f"{table}_live", objects=models.Manager(), **_copied(key))
    managers = {"objects": models.Manager(), "live": LiveManager()}
    return made(class_name(name), table, VIEW=view, **key, **rest, **managers)


def _copied(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: field.clone() for name, field in fields.items()}


OBJECTS: Final = tuple(_object_model(resource) for resource in RESOURCES.values())
RELATIONS: Final = tuple(_edge_model(edge) for edge in EDGES.values())
globals().update({model.__name__: model for model in (*OBJECTS, *RELATIONS)})
