"""The receiver's tables in Django's migrations: the same `.sql` files, the same list of what was applied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from django.db.migrations.operations import CreateModel, RunPython
from django.db.migrations.state import ModelState

from hookline.storage import Dialect
from hookline.storage.app_connection import driver_connection, plain_or_refused
from hookline.storage.migrate import migrate

T = TypeVar("T")


class _InSchemaEditor:
    """The transaction that Django's migration is in, as migrating needs it."""

    def __init__(self, connection: Any) -> None:
        self._connection = plain_or_refused(driver_connection(connection))

    @property
    def dialect(self) -> Dialect:
        return self._connection.dialect

    def run(self, work: Callable[[Any], T]) -> T:
        return work(self._connection)


def up_to(number: int) -> RunPython:
    """Apply the receiver's migrations as far as `number`; none where `hookline db upgrade` has done so."""

    def apply(_: Any, schema_editor: Any) -> None:
        from hookline.adapters.django.receiving import hooks

        if schema_editor.connection.alias == hooks.alias:
            migrate(_InSchemaEditor(schema_editor.connection), "receiver", "hookline.receiver", up_to=number)

    return RunPython(apply, RunPython.noop, elidable=False)


def unmanaged_models() -> list[CreateModel]:
    """The models over the tables as they are now, for the state that `makemigrations` compares with.

    Django makes no table for them; the `.sql` files do. So this may differ from version to version.
    """
    from django.apps import apps

    states = [ModelState.from_model(model) for model in apps.get_app_config("hookline").get_models()]
    return [CreateModel(state.name, list(state.fields.items()), state.options, state.bases) for state in states]
