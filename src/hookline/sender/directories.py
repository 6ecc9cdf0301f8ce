"""The sender's directories: every write of state, and the events that tell of it, as one commit.

Organizations with their domains, directories, and what is in them: users, groups and memberships. An object's clock is
max(now, its last + 1 ms), under a lock that nobody else writes it with: an organization's row, or a directory's row for
all that is in it (docs/decisions/0178). Which events tell of a change is the protocol's (reference, §6 and §7): a
deletion is told alone, whatever hung on it; there is no event for a directory that is renamed.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar

from hookline.errors import NotCanonical, RequestError
from hookline.sender.counters import Counters
from hookline.sender.directory_changes import (
    AddMember,
    Applied,
    Changes,
    CreateGroup,
    CreateUser,
    DeleteGroup,
    DeleteUser,
    Named,
    Operation,
    RemoveMember,
    UpdateGroup,
    UpdateUser,
    bad_value,
    not_there,
)
from hookline.sender.directory_model import (
    Directory,
    DirectoryGroup,
    DirectoryState,
    DirectoryUser,
    DomainState,
    InactiveFlow,
    Organization,
    OrganizationDomain,
)
from hookline.sender.directory_payloads import (
    activated_payload,
    deleted_payload,
    domain_payload,
    organization_payload,
)
from hookline.sender.directory_store import DirectoryStore
from hookline.sender.drafts import MAX_BATCH_BYTES, EventDraft, join_path, member_bytes
from hookline.sender.event_writer import EventWriter, Publication
from hookline.sender.idempotency import IdempotencyKey, refuse_other_use, take_key
from hookline.sender.job_store import JobStore
from hookline.sender.jobs import Part
from hookline.sender.publish import wake_deliveries
from hookline.tracing import current

if TYPE_CHECKING:
    from hookline.loop import Clock
    from hookline.sender.ids import IdMaker
    from hookline.sender.job_store import Job
    from hookline.sender.model import Environment
    from hookline.sender.statistics import Statistics
    from hookline.sender.store import SenderStore
    from hookline.storage import Database
    from hookline.storage.verbs import Connection

log = logging.getLogger("hookline.sender")

T = TypeVar("T")
# A change of what is given; an attribute that is left out stays.
Attributes: TypeAlias = Mapping[str, Any]
VerificationFailure: TypeAlias = Literal["domain_verification_period_expired", "domain_verified_by_other_organization"]

MAX_OPERATIONS: Final = 1_000
"""Of one bulk."""
MAX_DOMAINS: Final = 100
"""Of one organization."""
KIND: Final = "directories"
"""The job that removes what hung on something deleted."""

_ORGANIZATION_ATTRIBUTES: Final = frozenset({"name", "external_id", "metadata", "domains"})
_DIRECTORY_ATTRIBUTES: Final = frozenset({"name", "type", "state", "domain", "external_key", "inactive_flow"})


@dataclass(frozen=True, slots=True)
class DomainValues:
    """A domain as an organization is given it. `state` None: as it is, pending where it is new.

    `reason` is why a verification failed, told where `state` becomes failed.
    """

    domain: str
    state: DomainState | None = None
    verification_strategy: Literal["dns", "manual"] | None = None
    verification_prefix: str | None = None
    verification_token: str | None = None
    reason: VerificationFailure = "domain_verification_period_expired"


@dataclass(frozen=True, slots=True)
class Done:
    """What `apply` did in a directory. `ids` are the users and groups that it was about, of memberships the group.

    `applied` is empty where an earlier call with the same idempotency key did it.
    """

    directory: Directory
    ids: tuple[str, ...]
    applied: tuple[Applied, ...]


class Directories:
    """Writes organizations, directories and what is in them.

    Every method is one commit, and returns the object as it is after it. RequestError 404 where it is not there or
    hangs on something deleted, 409 where an `external_id`, a domain or an `idp_id` is another's, 422 for a bad value;
    `errors` names the field. A change of nothing makes no event and moves no clock.

    Args:
        clock: for every time.
        ids: for every id.
        counters: what is counted here.
        statistics: what is counted for pages.
        is_silent: no event tells of what is written: for tests of what a source forgot to say.

    Attributes:
        state: the verbs, for whoever reads.
    """

    def __init__(
        self,
        database: Database,
        store: SenderStore,
        *,
        clock: Clock,
        ids: IdMaker,
        counters: Counters | None = None,
        statistics: Statistics | None = None,
        is_silent: bool = False,
    ) -> None:
        self._database = database
        self._store = store
        self._clock = clock
        self._ids = ids
        self._counters = counters if counters is not None else Counters()
        self._statistics = statistics
        self._is_silent = is_silent
        self._writer = EventWriter(store, clock=clock, ids=ids)
        self._jobs = JobStore(database.dialect)
        self.state = DirectoryStore(database.dialect)

    # -- organizations -------------------------------------------------------------------------------------------

    def create_organization(
        self,
        environment: Environment,
        *,
        name: str,
        domains: Sequence[DomainValues] = (),
        external_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
        actor: str = "command",
        idempotency: IdempotencyKey | None = None,
    ) -> Organization:
        """A new organization: `organization.created`, and `organization_domain.created` for each of its domains."""
        now_ms = self._clock.now_ms()
        organization = Organization(
            id=self._ids.make("org", now_ms),
            environment=environment,
            name=name,
            external_id=external_id,
            metadata=dict(metadata or {}),
            created_ms=now_ms,
            updated_ms=now_ms,
            event_ms=now_ms,
            sequence=1,
            deleted_ms=None,
        )

        def write(connection: Connection, told: list[EventDraft]) -> Organization:
            made = take_key(connection, self._store, environment, idempotency, organization.id, now_ms=now_ms)
            if made is not None:
                return _found(self.state.organization(connection, environment, made), "Organization", made)
            self._refuse_external_id(connection, organization)
            kept, events = self._domains(connection, organization, domains, now_ms)
            whole = replace(organization, domains=kept)
            self.state.put_organization(connection, whole)
            self.state.put_domains(connection, kept)
            told += [_about_organization("organization.created", whole), *events]
            self._audit(connection, environment, actor, "organization.created", whole.id, now_ms)
            return whole

        return self._commit(environment, write)

    def update_organization(
        self, environment: Environment, organization_id: str, attributes: Attributes, *, actor: str = "command"
    ) -> Organization:
        """Change any of `name`, `external_id`, `metadata` and `domains` (all of them: one that is left out goes).

        A domain's own event (`created`, `updated`, `verified`, `verification_failed`, `deleted`) comes before
        `organization.updated`, which shows them all.
        """
        _known(attributes, _ORGANIZATION_ATTRIBUTES)
        now_ms = self._clock.now_ms()

        def write(connection: Connection, told: list[EventDraft]) -> Organization:
            before = self._locked_organization(connection, environment, organization_id)
            columns = {name: value for name, value in attributes.items() if name != "domains"}
            changed = replace(before, **columns)
            if changed.external_id != before.external_id:
                self._refuse_external_id(connection, changed)
            events: list[EventDraft] = []
            if "domains" in attributes:
                kept, events = self._domains(connection, changed, attributes["domains"], now_ms)
                changed = replace(changed, domains=kept)
            if changed == before:
                return before
            event_ms = max(now_ms, before.event_ms + 1)
            changed = replace(changed, updated_ms=event_ms, event_ms=event_ms, sequence=before.sequence + 1)
            self.state.put_organization(connection, changed)
            known = {domain.id: domain for domain in before.domains}
            self.state.delete_domains(connection, known.keys() - {domain.id for domain in changed.domains})
            self.state.put_domains(connection, [one for one in changed.domains if known.get(one.id) != one])
            told += [*events, _about_organization("organization.updated", changed)]
            detail = {"fields": sorted(attributes)}
            self._audit(connection, environment, actor, "organization.updated", organization_id, now_ms, detail)
            return changed

        return self._commit(environment, write)

    def delete_organization(self, environment: Environment, organization_id: str, *, actor: str = "command") -> None:
        """Delete an organization, and with it, without a word, its domains and directories: `organization.deleted`."""
        now_ms = self._clock.now_ms()

        def write(connection: Connection, told: list[EventDraft]) -> None:
            before = self._locked_organization(connection, environment, organization_id)
            event_ms = max(now_ms, before.event_ms + 1)
            last = replace(before, event_ms=event_ms, sequence=before.sequence + 1, deleted_ms=event_ms)
            self.state.put_organization(connection, last)
            self.state.delete_domains(connection, [domain.id for domain in before.domains])
            for directory_id in self.state.bury_directories(connection, organization_id, now_ms=event_ms):
                self._jobs.put_first(connection, KIND, directory_id, {}, due_ms=now_ms)
            told.append(_about_organization("organization.deleted", last))
            self._audit(connection, environment, actor, "organization.deleted", organization_id, now_ms)

        self._commit(environment, write)

    # -- directories ---------------------------------------------------------------------------------------------

    def create_directory(
        self,
        environment: Environment,
        *,
        organization_id: str | None,
        name: str,
        type: str = "generic scim v2.0",  # noqa: A002 - the API's word
        state: DirectoryState = "linked",
        domain: str | None = None,
        external_key: str | None = None,
        inactive_flow: InactiveFlow = "secure",
        actor: str = "command",
        idempotency: IdempotencyKey | None = None,
    ) -> Directory:
        """A new directory of an organization, or of none: `dsync.activated`, where it is linked."""
        now_ms = self._clock.now_ms()
        id_ = self._ids.make("directory", now_ms)
        directory = Directory(
            id=id_,
            environment=environment,
            organization_id=organization_id,
            name=name,
            type=type,
            state=state,
            domain=None if domain is None else domain.lower(),
            external_key=id_[-16:].lower() if external_key is None else external_key,
            inactive_flow=inactive_flow,
            created_ms=now_ms,
            updated_ms=now_ms,
            event_ms=now_ms,
            sequence=0,
            deleted_ms=None,
        )

        def write(connection: Connection, told: list[EventDraft]) -> Directory:
            made = take_key(connection, self._store, environment, idempotency, id_, now_ms=now_ms)
            if made is not None:
                return _found(self.state.directory(connection, environment, made), "Directory", made)
            domains: Sequence[OrganizationDomain] = ()
            if organization_id is not None:
                domains = self._locked_organization(connection, environment, organization_id).domains
            whole = replace(directory, sequence=1) if state == "linked" else directory
            self.state.put_directory(connection, whole)
            if state == "linked":
                told.append(_about_directory("dsync.activated", whole, activated_payload(whole, domains)))
            self._audit(connection, environment, actor, "directory.created", id_, now_ms)
            return whole

        return self._commit(environment, write)

    def update_directory(
        self, environment: Environment, directory_id: str, attributes: Attributes, *, actor: str = "command"
    ) -> Directory:
        """Change any of `name`, `type`, `state`, `domain` (kept in lower case), `external_key` and `inactive_flow`.

        One that becomes linked is told of as `dsync.activated`; the protocol has no event for any other change.
        """
        _known(attributes, _DIRECTORY_ATTRIBUTES)
        now_ms = self._clock.now_ms()

        def write(connection: Connection, told: list[EventDraft]) -> Directory:
            before = self._locked_directory(connection, environment, directory_id)
            changed = replace(before, **attributes)
            if changed.domain is not None:
                changed = replace(changed, domain=changed.domain.lower())
            if changed == before:
                return before
            updated_ms = max(now_ms, before.event_ms + 1, before.updated_ms + 1)
            changed = replace(changed, updated_ms=updated_ms)
            if changed.state == "linked" != before.state:
                changed = replace(changed, event_ms=updated_ms, sequence=before.sequence + 1)
                domains = self._domains_of(connection, changed)
                told.append(_about_directory("dsync.activated", changed, activated_payload(changed, domains)))
            self.state.put_directory(connection, changed)
            detail = {"fields": sorted(attributes)}
            self._audit(connection, environment, actor, "directory.updated", directory_id, now_ms, detail)
            return changed

        return self._commit(environment, write)

    def delete_directory(self, environment: Environment, directory_id: str, *, actor: str = "command") -> None:
        """Delete a directory, and with it, without a word, all that is in it: `dsync.deleted` alone.

        It is gone at once for every read; its rows go later, in parts.
        """
        now_ms = self._clock.now_ms()

        def write(connection: Connection, told: list[EventDraft]) -> None:
            before = self._locked_directory(connection, environment, directory_id)
            event_ms = max(now_ms, before.event_ms + 1, before.updated_ms)
            last = replace(before, event_ms=event_ms, sequence=before.sequence + 1, deleted_ms=event_ms)
            self.state.put_directory(connection, last)
            self._jobs.put_first(connection, KIND, directory_id, {}, due_ms=now_ms)
            told.append(_about_directory("dsync.deleted", last, deleted_payload(before)))
            self._audit(connection, environment, actor, "directory.deleted", directory_id, now_ms)

        self._commit(environment, write)

    # -- users, groups and memberships ---------------------------------------------------------------------------

    def create_user(self, environment: Environment, directory_id: str, **attributes: Any) -> DirectoryUser:
        """A new user: `dsync.user.created`.

        Args:
            attributes: `idp_id`, and any of `email`, `state`, `first_name`, `last_name`, `job_title`, `username`,
                `custom_attributes`, and `roles` (slugs, the primary one first).
        """
        return _user(self._one(environment, directory_id, CreateUser(attributes)))

    def update_user(self, environment: Environment, directory_id: str, user: Named, **attributes: Any) -> DirectoryUser:
        """Change what is given: `dsync.user.updated`.

        `state` inactive ends the user in a directory of the secure flow: `dsync.user.deleted`, and whoever returns is a
        new user; returned is what the user was last.
        """
        return _user(self._one(environment, directory_id, UpdateUser(user, attributes)))

    def deactivate_user(self, environment: Environment, directory_id: str, user: Named) -> Applied:
        """Turn a user inactive, as the directory's flow has it."""
        return self._one(environment, directory_id, UpdateUser(user, {"state": "inactive"}))

    def reactivate_user(self, environment: Environment, directory_id: str, user: Named) -> DirectoryUser:
        """Turn a user active again, where the custom flow has kept him."""
        return _user(self._one(environment, directory_id, UpdateUser(user, {"state": "active"})))

    def delete_user(self, environment: Environment, directory_id: str, user: Named) -> None:
        """Delete a user: `dsync.user.deleted`; his memberships end without a word."""
        self._one(environment, directory_id, DeleteUser(user))

    def create_group(self, environment: Environment, directory_id: str, *, idp_id: str, name: str) -> DirectoryGroup:
        """A new group: `dsync.group.created`."""
        return _group(self._one(environment, directory_id, CreateGroup({"idp_id": idp_id, "name": name})))

    def update_group(
        self, environment: Environment, directory_id: str, group: Named, **attributes: Any
    ) -> DirectoryGroup:
        """Change `idp_id`, `name` or both: `dsync.group.updated`."""
        return _group(self._one(environment, directory_id, UpdateGroup(group, attributes)))

    def delete_group(self, environment: Environment, directory_id: str, group: Named) -> None:
        """Delete a group: `dsync.group.deleted`; its memberships end without a word."""
        self._one(environment, directory_id, DeleteGroup(group))

    def add_member(self, environment: Environment, directory_id: str, group: Named, user: Named) -> bool:
        """Put a user into a group: `dsync.group.user_added`. False where he was in it."""
        return self._one(environment, directory_id, AddMember(group, user)).is_changed

    def remove_member(self, environment: Environment, directory_id: str, group: Named, user: Named) -> bool:
        """Take a user out of a group: `dsync.group.user_removed`. False where he was not in it."""
        return self._one(environment, directory_id, RemoveMember(group, user)).is_changed

    def apply(
        self,
        environment: Environment,
        directory_id: str,
        operations: Sequence[Operation],
        *,
        place: str = "operations",
        idempotency: IdempotencyKey | None = None,
    ) -> Done:
        """Do up to MAX_OPERATIONS in order, all of them or none.

        Args:
            place: what refusals call the list; empty where there is one operation, whose fields are the call's own.

        Raises:
            RequestError: as single writes do; `errors` names the operation, as in `operations[3].idp_id`.
                409 `idempotency_key_reused`.

        Returns: what each came to; of a call that repeats an idempotency key what it was about.
        """
        if not 0 < len(operations) <= MAX_OPERATIONS:
            raise bad_value(place, f"expected 1 to {MAX_OPERATIONS} operations, got {len(operations)}")
        now_ms = self._clock.now_ms()

        def write(connection: Connection, told: list[EventDraft]) -> Done:
            directory = self._locked_directory(connection, environment, directory_id)
            # Calls with one key are about one directory, and wait for each other at its lock.
            if (ids := self._repeated(connection, environment, idempotency)) is not None:
                return Done(directory, ids, ())
            changes = Changes(
                connection,
                self.state,
                directory,
                make_id=lambda prefix: self._ids.make(prefix, now_ms),
                now_ms=now_ms,
            )
            changes.read(operations)
            applied = tuple(
                _applied(changes, operation, f"{place}[{index}]" if place else "")
                for index, operation in enumerate(operations)
            )
            if sum(len(event.data) for event in changes.events) > MAX_BATCH_BYTES:
                raise bad_value(place, f"expected events of at most {MAX_BATCH_BYTES} bytes: do it in several calls")
            ids = tuple(one.object.id for one in applied)
            self._take(connection, environment, idempotency, ids, now_ms)
            groups, users = changes.write()
            if not self.state.remove_memberships(connection, groups=groups, users=users):
                detail = {"groups": groups, "users": users}
                self._jobs.put_first(connection, KIND, (groups + users)[0], detail, due_ms=now_ms)
            told += changes.events
            return Done(directory, ids, applied)

        return self._commit(environment, write)

    def do_part(self, connection: Connection, job: Job, now_ms: int) -> Part:
        """Remove a part of what hung on something deleted (jobs.py)."""
        if job.detail:
            done = self.state.remove_memberships(connection, groups=job.detail["groups"], users=job.detail["users"])
        else:
            done = self.state.remove_some(connection, job.subject)
        return Part(None if done else now_ms, job.detail)

    # -- what the writes are made of -----------------------------------------------------------------------------

    def _one(self, environment: Environment, directory_id: str, operation: Operation) -> Applied:
        return self.apply(environment, directory_id, [operation], place="").applied[0]

    def _commit(self, environment: Environment, work: Callable[[Connection, list[EventDraft]], T]) -> T:
        """Run `work` in a transaction, which also publishes what it puts on the list it is given."""
        told: list[EventDraft] = []

        def write(connection: Connection) -> T:
            told.clear()
            result = work(connection, told)
            if self._is_silent:
                told.clear()
            if told:
                self._writer.write(
                    connection, [Publication(environment, tuple(told), traceparent=current())], is_ours=True
                )
            return result

        result = self._database.run(write)
        if told:
            self._counters.published[environment] += len(told)
            if self._statistics is not None:
                types = [draft.type for draft in told]
                self._statistics.published(environment, types, now_ms=self._clock.now_ms())
            wake_deliveries(self._database)
        return result

    def _locked_organization(self, connection: Connection, environment: Environment, id_: str) -> Organization:
        return _found(self.state.lock_organization(connection, environment, id_), "Organization", id_)

    def _locked_directory(self, connection: Connection, environment: Environment, id_: str) -> Directory:
        return _found(self.state.lock_directory(connection, environment, id_), "Directory", id_)

    def _domains_of(self, connection: Connection, directory: Directory) -> Sequence[OrganizationDomain]:
        if directory.organization_id is None:
            return ()
        organization = self.state.organization(connection, directory.environment, directory.organization_id)
        return () if organization is None else organization.domains

    def _refuse_external_id(self, connection: Connection, organization: Organization) -> None:
        external_id = organization.external_id
        if external_id is not None and self.state.is_external_id_taken(
            connection, organization.environment, external_id, other_than=organization.id
        ):
            raise _taken("external_id", "another organization has this external_id")

    def _domains(
        self, connection: Connection, organization: Organization, wanted: Sequence[DomainValues], now_ms: int
    ) -> tuple[tuple[OrganizationDomain, ...], list[EventDraft]]:
        """An organization's domains as they are to be, and the events that tell of it."""
        names = [one.domain.lower() for one in wanted]
        if len(names) > MAX_DOMAINS:
            raise bad_value("domains", f"expected at most {MAX_DOMAINS} domains, got {len(names)}")
        if len(set(names)) < len(names):
            raise bad_value("domains", "expected each domain once")
        taken = self.state.domains_taken(connection, organization.environment, names, other_than=organization.id)
        if taken:
            index = next(index for index, name in enumerate(names) if name in taken)
            raise _taken(f"domains[{index}].domain", "another organization has this domain")
        known = {domain.domain: domain for domain in organization.domains}
        events = [
            _about_domain("organization_domain.deleted", _moved(domain, now_ms), domain_payload(domain), organization)
            for name, domain in known.items()
            if name not in names
        ]
        kept = []
        for name, values in zip(names, wanted, strict=True):
            domain, told = self._domain(organization, known.get(name), name, values, now_ms)
            kept.append(domain)
            events += told
        return tuple(sorted(kept, key=lambda domain: (domain.created_ms, domain.id))), events

    def _domain(
        self,
        organization: Organization,
        before: OrganizationDomain | None,
        name: str,
        values: DomainValues,
        now_ms: int,
    ) -> tuple[OrganizationDomain, list[EventDraft]]:
        if before is None:
            made = OrganizationDomain(
                id=self._ids.make("org_domain", now_ms),
                environment=organization.environment,
                organization_id=organization.id,
                domain=name,
                state=values.state or "pending",
                verification_strategy=values.verification_strategy,
                verification_prefix=values.verification_prefix,
                verification_token=values.verification_token,
                created_ms=now_ms,
                updated_ms=now_ms,
                event_ms=now_ms,
                sequence=1,
            )
            event = _about_domain("organization_domain.created", made, domain_payload(made), organization)
            return made, [event]
        given = {
            field: value
            for field in ("state", "verification_strategy", "verification_prefix", "verification_token")
            if (value := getattr(values, field)) is not None
        }
        changed = replace(before, **given)
        if changed == before:
            return before, []
        changed = _moved(changed, now_ms)
        changed = replace(changed, updated_ms=changed.event_ms)
        data = domain_payload(changed)
        word = "updated"
        if changed.state == "verified" != before.state:
            word = "verified"
        elif changed.state == "failed" != before.state:
            word, data = "verification_failed", {"reason": values.reason, "organization_domain": data}
        return changed, [_about_domain(f"organization_domain.{word}", changed, data, organization)]

    def _repeated(
        self, connection: Connection, environment: Environment, idempotency: IdempotencyKey | None
    ) -> tuple[str, ...] | None:
        """What the first call with this key was about; None: this is the first. RequestError 409 for another call."""
        record = (
            None if idempotency is None else self._store.idempotency_record(connection, environment, idempotency.key)
        )
        if idempotency is None or record is None:
            return None
        if (refusal := refuse_other_use(idempotency, record)) is not None:
            raise refusal
        return record.result_ids

    def _take(
        self,
        connection: Connection,
        environment: Environment,
        idempotency: IdempotencyKey | None,
        result_ids: Sequence[str],
        now_ms: int,
    ) -> None:
        if idempotency is None:
            return
        row = {
            "environment": environment,
            "idempotency_key": idempotency.key,
            "operation": idempotency.operation,
            "body_sha256": idempotency.body_sha256,
            "result_ids": json.dumps(list(result_ids)),
            "now_ms": now_ms,
        }
        if not self._store.take_idempotency_keys(connection, [row]):
            # A call about something else came between.
            self._repeated(connection, environment, idempotency)

    def _audit(
        self,
        connection: Connection,
        environment: Environment,
        actor: str,
        action: str,
        object_id: str,
        now_ms: int,
        detail: Mapping[str, object] | None = None,
    ) -> None:
        self._store.audit(
            connection, environment, actor=actor, action=action, object_id=object_id, detail=detail, now_ms=now_ms
        )


def _applied(changes: Changes, operation: Operation, place: str) -> Applied:
    """Do one operation; a refusal says which it was."""
    try:
        return changes.apply(operation)
    except NotCanonical as error:
        found = bad_value(error.path or "attributes", str(error).removeprefix(f"{error.path}: "))
    except RequestError as error:
        found = error
    if not place:
        raise found from None
    errors = [
        {**item, "field": join_path(place, item["field"]), "message": f"{place}: {item['message']}"}
        for item in found.errors or ()
    ]
    raise RequestError(found.status, found.code, f"{place}: {found.message}", errors) from None


def _about_organization(type_: str, organization: Organization) -> EventDraft:
    return EventDraft(
        type_,
        member_bytes("data", organization_payload(organization)),
        b"",
        organization.id,
        organization.event_ms,
        object_sequence=organization.sequence,
    )


def _about_domain(
    type_: str, domain: OrganizationDomain, data: Mapping[str, Any], organization: Organization
) -> EventDraft:
    return EventDraft(
        type_,
        member_bytes("data", data),
        b"",
        organization.id,
        domain.event_ms,
        object_sequence=domain.sequence,
    )


def _about_directory(type_: str, directory: Directory, data: Mapping[str, Any]) -> EventDraft:
    return EventDraft(
        type_,
        member_bytes("data", data),
        b"",
        directory.organization_id,
        directory.event_ms,
        object_sequence=directory.sequence,
    )


def _moved(domain: OrganizationDomain, now_ms: int) -> OrganizationDomain:
    """A domain of which one more event tells."""
    return replace(domain, event_ms=max(now_ms, domain.event_ms + 1), sequence=domain.sequence + 1)


def _found(value: T | None, what: str, id_: str) -> T:
    if value is None:
        raise not_there(what, id_)
    return value


def _taken(field: str, message: str) -> RequestError:
    code = "domain_taken" if field.startswith("domains") else f"{field}_taken"
    return RequestError(409, code, message, [{"code": "taken", "field": field, "message": message}])


def _known(attributes: Attributes, known: frozenset[str]) -> None:
    if unknown := sorted(attributes.keys() - known):
        raise TypeError(f"unknown attributes: {', '.join(unknown)}; known are {', '.join(sorted(known))}")


def _user(applied: Applied) -> DirectoryUser:
    assert isinstance(applied.object, DirectoryUser)  # of an operation on a user
    return applied.object


def _group(applied: Applied) -> DirectoryGroup:
    assert isinstance(applied.object, DirectoryGroup)  # of an operation on a group
    return applied.object
