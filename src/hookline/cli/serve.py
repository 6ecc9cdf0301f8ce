"""`hookline serve`: put the ends together, say what runs, and run it until told to stop."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from cyclopts import Parameter
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.registry import Collector

import hookline
from hookline.cli.log_setup import configure_logging
from hookline.cli.open_files import raise_open_files
from hookline.cli.parameters import AsJson
from hookline.cli.probes import Probes
from hookline.cli.receiver_app import named_receiver
from hookline.cli.sender_app import sender_of
from hookline.cli.server import (
    DASHBOARD_PATH,
    AsgiApp,
    AsgiReceive,
    AsgiSend,
    Background,
    Scope,
    Switch,
    ThreadedLoop,
    bind,
    check_tls,
    serve_until_told,
)
from hookline.cli.trace_export import export_traces
from hookline.config import (
    FILE_NAME,
    SETTINGS,
    ReceiverConfig,
    SenderConfig,
    ServeConfig,
    Settings,
    load,
    without_password,
)
from hookline.errors import ConfigError
from hookline.loop import SystemClock
from hookline.metrics import BuildInfo, ReceiverMetrics, SenderMetrics
from hookline.receiver.app import Receiver
from hookline.receiver.configured import options_of
from hookline.receiver.status import span
from hookline.rules.address import is_loopback
from hookline.rules.redaction import Places
from hookline.storage import connect, database_file, is_postgres

if TYPE_CHECKING:
    from hookline.dashboard.app import Dashboard
    from hookline.sender.app import SenderApp

log = logging.getLogger("hookline.serve")

Part: TypeAlias = Literal["all", "sender", "receiver", "worker"]


def _flag(name: str) -> Parameter:
    return Parameter(help=f"{SETTINGS[name].about} Else {SETTINGS[name].variable}.")


Text: TypeAlias = str | None


def serve(
    part: Part = "all",
    /,
    *,
    worker: Annotated[bool, Parameter(negative="--no-worker", help="With the receiver: apply what it stores.")] = True,
    host: Annotated[Text, _flag("host")] = None,
    port: Annotated[Text, _flag("port")] = None,
    database_url: Annotated[Text, _flag("database_url")] = None,
    app: Annotated[Text, _flag("app")] = None,
    allow_private_targets: Annotated[bool | None, _flag("allow_private_targets")] = None,
    allowed_targets: Annotated[Text, _flag("allowed_targets")] = None,
    retry_schedule: Annotated[Text, _flag("retry_schedule")] = None,
    staging_retry_schedule: Annotated[Text, _flag("staging_retry_schedule")] = None,
    targets_ca: Annotated[Text, _flag("targets_ca")] = None,
    egress_ips: Annotated[Text, _flag("egress_ips")] = None,
    api_rate_limit: Annotated[Text, _flag("api_rate_limit")] = None,
    directory_user_groups: Annotated[Text, _flag("directory_user_groups")] = None,
    directory_users_per_s: Annotated[Text, _flag("directory_users_per_s")] = None,
    disable_after: Annotated[Text, _flag("disable_after")] = None,
    allowed_ips: Annotated[Text, _flag("allowed_ips")] = None,
    allowed_ips_url: Annotated[Text, _flag("allowed_ips_url")] = None,
    trusted_proxies: Annotated[Text, _flag("trusted_proxies")] = None,
    max_body: Annotated[Text, _flag("max_body")] = None,
    webhook_tolerance: Annotated[Text, _flag("webhook_tolerance")] = None,
    workos_base_url: Annotated[Text, _flag("workos_base_url")] = None,
    tail: Annotated[Text, _flag("tail")] = None,
    reconcile_every: Annotated[Text, _flag("reconcile_every")] = None,
    tls_cert: Annotated[Text, _flag("tls_cert")] = None,
    tls_key: Annotated[Text, _flag("tls_key")] = None,
    metrics_listen: Annotated[Text, _flag("metrics_listen")] = None,
    drain_delay: Annotated[Text, _flag("drain_delay")] = None,
    log_level: Annotated[Text, _flag("log_level")] = None,
    log_format: Annotated[Text, _flag("log_format")] = None,
    as_json: AsJson = False,
) -> int:
    """Run the sender, the receiver, or both on one port, until SIGTERM or Ctrl-C.

    Parameters
    ----------
    part:
        `all`; `sender`: API and delivery; `receiver`: the door and a worker; `worker`: a worker alone.
    """
    given = {name: value for name, value in locals().items() if name in SETTINGS}
    settings = load(given)
    config = settings.serve()
    configure_logging(config.log_level, config.log_format)
    # Before anything asks how many there may be.
    open_files = raise_open_files()
    tls = (config.tls_cert, config.tls_key) if config.tls_cert and config.tls_key else None
    if tls is not None:
        check_tls(*tls)
    if part == "worker" and not worker:
        raise ConfigError("--no-worker", "leaves nothing of `serve worker`; expected it with all or receiver")
    _check_databases(part, settings)
    with ExitStack() as ends:
        if (end_tracing := export_traces(os.environ)) is not None:
            ends.callback(end_tracing)
        # First, since what follows writes: API keys that are made are told only once.
        listener = bind(config.host, config.port, is_tls=tls is not None) if part != "worker" else None
        if listener is not None:
            ends.callback(listener.socket.close)
        side = (
            bind(*config.metrics_listen, is_tls=False, setting="HOOKLINE_METRICS_LISTEN")
            if config.metrics_listen
            else None
        )
        if side is not None:
            ends.callback(side.socket.close)
        plan = _plan(part, settings, ends, has_worker=worker)
        if end_tracing is not None:
            plan.facts["traces"] = {"to": "otlp"}
        probes = _probes(plan, config.metrics_token)
        plan.drains.append(probes.drain)
        if side is not None:
            plan.facts["probes"] = {"url": side.url}
        return serve_until_told(
            _switch(plan, probes) if listener is not None else None,
            listener,
            plan.background,
            tls=tls,
            started=lambda: _say(
                plan, listener.url if listener is not None else None, open_files=open_files, as_json=as_json
            ),
            beside=(probes.alone(), side) if side is not None else None,
            drain=plan.drain,
            drain_delay_s=config.drain_delay_s,
            has_relay=plan.relay is not None,
        )


def _check_databases(part: Part, settings: Settings) -> None:
    """Refuse a place where no database can be, under the name of the setting it came from."""
    ends = {"all": ("receiver", "sender"), "sender": ("sender",)}.get(part, ("receiver",))
    for end in ends:
        if end == "receiver" and settings["app"] is not None:
            continue  # the app's Receiver names its own
        own = settings.resolved[f"{end}_database_url"]
        entry = own if own.value is not None else settings.resolved["database_url"]
        name = entry.origin if entry.origin != "default" else entry.setting.variable
        if is_postgres(entry.value):
            connect(entry.value, setting=name).close()  # says what is wrong with the URL; opens nothing
        else:
            database_file(entry.value, setting=name)


@dataclass(slots=True)
class _Plan:
    """What this process runs, and what there is to say about it: facts by part, for people and for machines."""

    sender: AsgiApp | None = None
    door: AsgiApp | None = None
    dashboard: AsgiApp | None = None
    relay: AsgiApp | None = None
    is_senders: Callable[[str], bool] = lambda _: False
    background: list[Background] = field(default_factory=list)
    problems: list[Callable[[], Sequence[str]]] = field(default_factory=list)
    drains: list[Callable[[], None]] = field(default_factory=list)
    metrics: list[Collector] = field(default_factory=list)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def drain(self) -> None:
        """The first signal has come."""
        for drain in self.drains:
            drain()


def _plan(part: Part, settings: Settings, ends: ExitStack, *, has_worker: bool) -> _Plan:
    plan = _Plan()
    config = settings.serve()
    receiver: Receiver | None = None
    sender: SenderApp | None = None
    if part != "sender":
        receiver = _receiver(plan, settings, config.receiver)
        ends.callback(receiver.close)
        receiver.open()
        plan.metrics.append(ReceiverMetrics(receiver))
        if part != "worker":
            _add_door(plan, receiver, config.receiver)
        if has_worker:
            _add_worker(plan, receiver, config.receiver)
    # Last, so that nothing can fail between the making of its API keys and their being told.
    if part in {"all", "sender"}:
        sender = _add_sender(plan, config.sender, ends)
    if part != "worker" and config.dashboard.is_on:
        _add_dashboard(plan, config, sender, receiver, ends)
    return plan


def _add_sender(plan: _Plan, config: SenderConfig, ends: ExitStack) -> SenderApp:
    # Not at the top: a process that only receives does without FastAPI and its memory.
    from hookline.relay.server import Relay
    from hookline.sender.api import is_sender_path

    database = connect(config.database_url, setting=SETTINGS["database_url"].variable)
    ends.callback(database.close)
    sender = sender_of(config, database)
    ends.callback(sender.close)
    sender.load_api()
    plan.sender, plan.is_senders = sender, is_sender_path
    plan.relay = relay = Relay(sender)
    plan.drains.append(relay.drain)
    plan.background.append(sender)
    plan.problems.append(sender.problems)
    plan.metrics.append(SenderMetrics(sender))
    plan.facts["sender"] = {"path": "/", "database": _shown(config.database_url), "made_api_keys": sender.made_keys}
    return sender


def _add_dashboard(
    plan: _Plan, config: ServeConfig, sender: SenderApp | None, receiver: Receiver | None, ends: ExitStack
) -> None:
    """Pages over the ends this process has. Its accounts are where the sender's tables are, else the receiver's."""
    if sender is not None:
        url = config.sender.database_url
    elif receiver is not None and config.receiver.app is None:
        url = config.receiver.database_url
    else:
        # The app's own database, or the one its Receiver was built with, is not for our accounts.
        return
    from hookline.dashboard.accounts import Accounts

    database = connect(url, setting=SETTINGS["database_url"].variable)
    ends.callback(database.close)
    accounts = Accounts(database, session_s=config.dashboard.session_s)
    accounts.open()
    extra: dict[str, Any] = {"public_url": config.dashboard.public_url}
    if (oidc := config.dashboard.oidc) is not None:
        from hookline.dashboard.oidc import Provider

        # Without the public URL settings with a provider are refused.
        redirect_uri = f"{config.dashboard.public_url}{DASHBOARD_PATH}/sign-in/callback"
        extra["oidc"] = Provider(oidc, redirect_uri=redirect_uri, clock=SystemClock())
    if config.tls_cert is None and not is_loopback(config.host) and not _is_https(config.dashboard.public_url):
        plan.warnings.append(
            "the dashboard is at plain http, where passwords and sessions can be read on their way: set "
            "HOOKLINE_TLS_CERT and _KEY, or put a proxy that speaks TLS in front and say so by "
            "HOOKLINE_DASHBOARD_PUBLIC_URL and HOOKLINE_TRUSTED_PROXIES"
        )
    redact = None if config.dashboard.redact is None else Places(config.dashboard.redact)

    def make() -> Dashboard:
        from hookline.dashboard.app import Dashboard

        return Dashboard(
            accounts=accounts,
            sender=sender,
            receiver=receiver,
            redact=redact,
            trusted_proxies=config.receiver.trusted_proxies or (),
            extra=extra,
        )

    plan.dashboard = dashboard = _WhenAsked(make)
    ends.callback(dashboard.close)
    plan.drains.append(dashboard.end_streams)
    token = accounts.first_link()
    plan.facts["dashboard"] = {
        "path": DASHBOARD_PATH,
        "public_url": config.dashboard.public_url,
        "first_sign_in": None if token is None else f"{DASHBOARD_PATH}/first?token={token}",
    }


class _WhenAsked:
    """The dashboard, loaded when somebody first looks: templates, highlighter and pages take a third of the start."""

    def __init__(self, make: Callable[[], Dashboard]) -> None:
        self._make = make
        self._made: Dashboard | None = None
        self._lock = threading.Lock()

    async def __call__(self, scope: Scope, receive: AsgiReceive, send: AsgiSend) -> None:
        dashboard = self._made if self._made is not None else await asyncio.to_thread(self.load)
        await dashboard(scope, receive, send)

    def load(self) -> Dashboard:
        """It, made now unless somebody has looked already. Takes a while the first time."""
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def end_streams(self) -> None:
        """What is streamed to browsers ends now."""
        if self._made is not None:
            self._made.end_streams()

    def close(self) -> None:
        """Let go of what it holds."""
        if self._made is not None:
            self._made.close()


def _receiver(plan: _Plan, settings: Settings, config: ReceiverConfig) -> Receiver:
    """The Receiver that `app` names, as it was built; without one, a Receiver of these settings and no handlers."""
    if config.app is not None:
        receiver = named_receiver(config.app, settings.resolved["app"].origin)
        left_to_it = [
            entry.origin
            for entry in settings.resolved.values()
            if entry.setting.part == "receiver" and entry.setting.name != "app" and entry.value is not None
        ]
        left_to_it += [f"sources.{name} in {FILE_NAME}" for name in settings.sources]
        if left_to_it and not receiver.takes_settings:
            plan.warnings.append(
                f"{config.app} was built with its own settings; not used here: {', '.join(left_to_it)}"
            )
        return receiver
    if not config.sources and config.alone.webhook_secrets is None and config.alone.tail != "only":
        plan.warnings.append("HOOKLINE_WEBHOOK_SECRETS is not set: every webhook is answered 503")
    for name, rules in config.sources.items():
        if rules.webhook_secrets is None and rules.tail != "only":
            plan.warnings.append(f"sources.{name}.webhook_secrets is not set: each of its webhooks is answered 503")
    return Receiver(config.database_url, **options_of(config))


def _add_door(plan: _Plan, receiver: Receiver, config: ReceiverConfig) -> None:
    plan.door = receiver.asgi()
    # Before the first request, which waits for nothing.
    receiver.follow_lists()
    plan.problems.append(lambda: () if receiver.is_ready() else ("the door cannot keep webhooks",))
    token = "<HOOKLINE_PATH_TOKEN>" if config.app is None and not config.sources else "<path_token>"
    paths = {door.source: door.path if door.path_token is None else f"{door.path}/{token}" for door in receiver.doors}
    whose = {"database": _shown(config.database_url)} if config.app is None else {"app": config.app}
    where = {"sources": paths} if len(paths) > 1 else {"path": next(iter(paths.values()), None)}
    plan.facts["receiver"] = {**where, **whose}


def _add_worker(plan: _Plan, receiver: Receiver, config: ReceiverConfig) -> None:
    worker = receiver.worker()
    # Now, so that a handler whose registration is refused stops the start.
    worker.register()
    plan.background.append(ThreadedLoop(worker.run, wake=worker.wake.set, name="hookline-worker"))
    plan.problems.append(worker.problems)
    plan.facts["worker"] = {"handlers": len(receiver.handlers), "app": config.app}
    asked = [one for one in receiver.sources if one.api_key is not None]
    if asked:
        feeds = receiver.feeds()
        plan.background.append(ThreadedLoop(feeds.run, wake=lambda: None, name="hookline-feeds"))
        plan.facts["worker"]["feeds"] = {
            one.name: {"api": one.api_url, "tail": one.tail, "reconcile_every_s": one.reconcile_every_s}
            for one in asked
        }


def _probes(plan: _Plan, token: str | None) -> Probes:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    for collector in (BuildInfo(), *plan.metrics):
        registry.register(collector)
    return Probes(
        problems=lambda: [problem for problems in plan.problems for problem in problems()],
        registry=registry,
        token=token,
    )


def _switch(plan: _Plan, probes: Probes) -> Switch:
    return Switch(
        door=plan.door,
        sender=plan.sender,
        is_senders=plan.is_senders if plan.door is not None else lambda _: True,
        dashboard=plan.dashboard,
        relay=plan.relay,
        probes=probes,
    )


def _say(plan: _Plan, url: str | None, *, open_files: tuple[int, str], as_json: bool) -> None:
    """Say once what runs and where: on stdout, warnings on stderr."""
    if as_json:
        print(json.dumps({"url": url, **plan.facts, "warnings": plan.warnings}), flush=True)
    else:
        print("\n".join(_lines(plan.facts, url)), flush=True)
    log.log(*open_files)
    for warning in plan.warnings:
        print(f"warning: {warning}", file=sys.stderr, flush=True)


def _lines(facts: Mapping[str, Mapping[str, Any]], url: str | None) -> Iterator[str]:
    yield f"Hookline {hookline.__version__}" + (f" on {url}" if url else "")
    if sender := facts.get("sender"):
        yield f"  sender    {url}  {sender['database']}"
        for environment, key in sender["made_api_keys"].items():
            yield f"            {environment} API key, made now and shown this once: {key}"
    if receiver := facts.get("receiver"):
        whose = f"as {receiver['app']} was built" if "app" in receiver else receiver["database"]
        if "path" in receiver:
            at = "no door" if receiver["path"] is None else f"{url}{receiver['path']}"
            yield f"  receiver  {at}  {whose}"
        else:
            yield f"  receiver  {whose}"
            for name, path in receiver["sources"].items():
                yield f"            {name}  {url}{path}"
    if worker := facts.get("worker"):
        count = worker["handlers"]
        whose = f"{count} handler{'' if count == 1 else 's'} of {worker['app']}" if worker["app"] else "no handlers"
        yield f"  worker    applies events; {whose}"
        for name, feed in worker.get("feeds", {}).items():
            every_s = feed["reconcile_every_s"]
            reconciled = "not reconciled by itself" if every_s is None else f"reconciled every {span(every_s * 1000)}"
            yield f"            {name}  {feed['api']}  tail {feed['tail']}, {reconciled}"
    if dashboard := facts.get("dashboard"):
        root = dashboard["public_url"] or url
        yield f"  dashboard {root}{dashboard['path']}"
        if first := dashboard["first_sign_in"]:
            yield f"            nobody has an account yet; this link makes the first, once: {root}{first}"
    if probes := facts.get("probes"):
        yield f"  probes    {probes['url']}/healthz /readyz /metrics"
    if "traces" in facts:
        yield "  traces    by OTLP, as the environment says"
    yield "Ctrl-C stops it."


def _is_https(url: str | None) -> bool:
    return url is not None and url.startswith("https:")


def _shown(database_url: str) -> str:
    """The URL without its password, and with a file's path in full: that depends on the working directory."""
    if is_postgres(database_url):
        return without_password(database_url)
    return f"sqlite:///{Path(database_url.removeprefix('sqlite:///')).absolute()}"
