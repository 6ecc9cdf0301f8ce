"""Mirror, inbox and dead letters in Django's admin: to look at, and to have what failed done once more."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from django.contrib import admin, messages
from django.db import connections, transaction

from hookline.adapters.django.models import OBJECTS, HandlerRun, InboxEntry
from hookline.adapters.django.receiving import hooks
from hookline.receiver.replay import Replays, Selection
from hookline.receiver.run_store import RunStore
from hookline.storage import Verbs
from hookline.storage.app_connection import driver_connection, plain_or_refused


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[misc]
    """Shows, and changes nothing."""

    show_full_result_count = False

    def has_add_permission(self, *_: Any) -> bool:
        return False

    def has_change_permission(self, *_: Any) -> bool:
        return False

    def has_delete_permission(self, *_: Any) -> bool:
        return False

    def has_replay_permission(self, request: Any) -> bool:
        """Whoever may change runs may have them run again."""
        return bool(request.user.has_perm("hookline.change_handlerrun"))


class MirrorAdmin(ReadOnlyAdmin):
    """One mirrored resource."""

    search_fields = ("=id",)

    def get_list_display(self, _: Any) -> list[str]:
        known = [field.name for field in self.model._meta.fields]
        return ["id", *(name for name in ("name", "email", "state", "organization_id") if name in known), "deleted_at"]

    def get_ordering(self, _: Any) -> tuple[str, ...]:
        return ("source", "id")


class InboxAdmin(ReadOnlyAdmin):
    """What arrived and what became of it."""

    list_display = ("event_id", "type", "received", "became")
    list_filter = ("outcome__outcome",)
    list_select_related = ("outcome",)
    search_fields = ("=event_id",)
    ordering = ("-seq",)
    actions = ("apply_again", "replay")

    @admin.display(ordering="received_ms")  # type: ignore[untyped-decorator]
    def received(self, entry: Any) -> str:
        """When it first came."""
        return _shown(entry.received_ms)

    @admin.display(ordering="outcome__outcome")  # type: ignore[untyped-decorator]
    def became(self, entry: Any) -> str:
        """Its outcome, with the reason."""
        outcome = getattr(entry, "outcome", None)
        return "waiting" if outcome is None else ": ".join(filter(None, (outcome.outcome, outcome.reason)))

    @admin.action(description="Apply dead entries again", permissions=["replay"])  # type: ignore[untyped-decorator]
    def apply_again(self, request: Any, entries: Iterable[Any]) -> None:
        """What is not dead stays as it is."""
        found = [(entry.source, entry.event_id) for entry in entries]

        def work(verbs: Verbs, connection: Any, now_ms: int) -> int:
            store = RunStore(verbs)
            return sum(store.retry_entry(connection, *entry, now_ms) for entry in found)

        _tell(self, request, _done(work), "applied again")

    @admin.action(description="Replay, handlers too", permissions=["replay"])  # type: ignore[untyped-decorator]
    def replay(self, request: Any, entries: Iterable[Any]) -> None:
        """Handlers can tell by `current_run().is_replay`."""
        by_source: dict[str, list[str]] = {}
        for entry in entries:
            by_source.setdefault(entry.source, []).append(entry.event_id)

        def work(verbs: Verbs, connection: Any, now_ms: int) -> int:
            for source, ids in by_source.items():
                Replays(verbs).start(connection, source, Selection(event_ids=tuple(ids)), now_ms=now_ms, mode="all")
            return sum(map(len, by_source.values()))

        _tell(self, request, _done(work), "replayed")


class RunAdmin(ReadOnlyAdmin):
    """Runs of handlers; `failed` are dead letters."""

    list_display = ("row_id", "handler", "object_key", "state", "attempt", "created")
    list_filter = ("state", "handler")
    search_fields = ("=object_key", "=entry__event_id")
    ordering = ("-row_id",)
    actions = ("try_again",)

    @admin.display(ordering="created_ms")  # type: ignore[untyped-decorator]
    def created(self, run: Any) -> str:
        """When it was made."""
        return _shown(run.created_ms)

    @admin.action(description="Try again now", permissions=["replay"])  # type: ignore[untyped-decorator]
    def try_again(self, request: Any, runs: Iterable[Any]) -> None:
        """What succeeded, or is under way, stays as it is."""
        ids = [run.row_id for run in runs]

        def work(verbs: Verbs, connection: Any, now_ms: int) -> int:
            store = RunStore(verbs)
            return sum(store.retry(connection, row_id, now_ms) for row_id in ids)

        _tell(self, request, _done(work), "tried again")


def _done(work: Callable[[Verbs, Any, int], int]) -> int:
    # In whatever transaction the admin's request is in.
    with transaction.atomic(hooks.alias):
        connection = plain_or_refused(driver_connection(connections[hooks.alias]))
        return work(Verbs("hookline.receiver", connection.dialect), connection, hooks.clock.now_ms())


def _tell(model_admin: Any, request: Any, count: int, what: str) -> None:
    level = messages.SUCCESS if count else messages.WARNING
    model_admin.message_user(request, f"{count} will be {what}; the worker does it within seconds.", level)


def _shown(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(" ", "seconds")


_SHOWN = (*((model, MirrorAdmin) for model in OBJECTS), (InboxEntry, InboxAdmin), (HandlerRun, RunAdmin))
for model, shown_by in _SHOWN:
    admin.site.register(model, shown_by)
