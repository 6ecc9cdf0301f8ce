"""What the demo shows: a picture of both ends on a terminal, a line a second elsewhere, and a summary.

Everything shown is given (`Snapshot`, `Report`); nothing is counted or remembered here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from rich.cells import cell_len, set_cell_size
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hookline.demo.compare import Difference
from hookline.demo.figures import AttemptLine, ChangeLine, ReceiverFigures, SenderFigures
from hookline.demo.wire import Deed, WireFigures

Phase: TypeAlias = Literal["publishing", "draining", "comparing"]

WIDE_COLUMNS: Final = 110
DIFFERENCES_SHOWN: Final = 10
# What the receiver refuses for no other reason than that it is forged.
FORGED_REASONS: Final = ("missing", "malformed", "mismatch", "expired", "future")

_SHORT_RESOURCES: Final = {
    "organization": "organization",
    "organization_domain": "domain",
    "directory": "directory",
    "directory_user": "user",
    "directory_group": "group",
    "directory_membership": "membership",
}
_TINY_RESOURCES: Final = {
    "organization": "org",
    "organization_domain": "domain",
    "directory": "dir",
    "directory_user": "user",
    "directory_group": "group",
    "directory_membership": "member",
}
_PLURALS: Final = {"directory": "directories"}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment of the demo. Times are Unix milliseconds; `duration_s` is None where it runs until Ctrl-C."""

    now_ms: int
    elapsed_s: float
    duration_s: float | None
    rate: float
    seed: int
    phase: Phase
    sender: SenderFigures
    wire: WireFigures
    receiver: ReceiverFigures
    deeds: Sequence[Deed]
    happening: str


@dataclass(frozen=True, slots=True)
class Handlers:
    """What the two example handlers left in the receiver's database, beside what they should have left.

    `welcomes` were written by the fact handler, one for each `dsync.user.created`; `access` is the list of active
    users the change handler keeps. `is_right` says that both are right row by row, not only in number.
    """

    welcomes: int
    welcomes_expected: int
    access: int
    access_expected: int
    is_right: bool


@dataclass(frozen=True, slots=True)
class Report:
    """How it ended. `drained_s` is how long draining took, `drained` whether it came to an end,
    `kept` what is still there to look into."""

    seed: int
    rate: float
    published_s: float
    drained_s: float
    drained: bool
    sender: SenderFigures
    wire: WireFigures
    receiver: ReceiverFigures
    handlers: Handlers
    compared: int
    differences: Sequence[Difference]
    kept: str | None

    @property
    def mirror_equals_source(self) -> bool:
        return not self.differences

    @property
    def forged_refused(self) -> int:
        return forged_refused(self.receiver)

    @property
    def is_good(self) -> bool:
        return self.drained and self.mirror_equals_source and self.handlers.is_right and not self.wire.forged_accepted

    def as_json(self) -> dict[str, object]:
        """The figures for a machine. Every count was made by the end it is about."""
        return {
            "mirror_equals_source": self.mirror_equals_source,
            "published": self.sender.published,
            "delivered": self.sender.delivered,
            "attempts": self.sender.attempts,
            "duplicates_ignored": self.receiver.duplicates,
            "stale_ignored": self.receiver.outcomes.get("stale", 0),
            "forged_refused": self.forged_refused,
            "applied": self.receiver.outcomes.get("applied", 0),
            "accepted": self.receiver.accepted,
            "handlers_ran": self.receiver.runs.get("succeeded", 0),
            "handlers_ran_once": self.handlers.is_right,
            "drained": self.drained,
            "differences": len(self.differences),
            "compared": self.compared,
            "seed": self.seed,
            "rate": self.rate,
            "duration_s": round(self.published_s, 1),
            "drain_s": round(self.drained_s, 1),
        }


def forged_refused(receiver: ReceiverFigures) -> int:
    """How many requests were refused because their signature did not hold."""
    return sum(receiver.refused.get(reason, 0) for reason in FORGED_REASONS)


# -- the picture ---------------------------------------------------------------------------------------------


def picture(snapshot: Snapshot, width: int, height: int) -> RenderableType:
    """Both ends side by side and the wire between them (below them where the terminal is narrow)."""
    if width >= WIDE_COLUMNS:
        lines = max(1, height - 13)
        inner = (width - 12) // 3
        ends = Table.grid(expand=True)
        for _ in range(3):
            ends.add_column(ratio=1)
        ends.add_row(
            _panel("sender", _sender(snapshot, inner, lines), "green"),
            _panel("wire", _wire_tall(snapshot, inner, lines), "yellow" if not snapshot.wire.is_down else "red"),
            _panel("receiver", _receiver(snapshot, inner, lines), "blue"),
        )
        return Group(_title(snapshot, width), ends, _footer(snapshot, width))
    lines = max(1, height - 17)
    inner = (width - 8) // 2
    ends = Table.grid(expand=True)
    for _ in range(2):
        ends.add_column(ratio=1)
    ends.add_row(
        _panel("sender", _sender(snapshot, inner, lines), "green"),
        _panel("receiver", _receiver(snapshot, inner, lines), "blue"),
    )
    wire = _panel("wire", _wire_flat(snapshot, width - 4), "yellow" if not snapshot.wire.is_down else "red")
    return Group(_title(snapshot, width), ends, wire, _footer(snapshot, width))


def _title(snapshot: Snapshot, width: int) -> RenderableType:
    until = f"{snapshot.elapsed_s:.0f} s"
    if snapshot.duration_s is not None:
        until += f" of {snapshot.duration_s:g} s"
    doing = f"publishing {snapshot.rate:g}/s" if snapshot.phase == "publishing" else snapshot.phase
    left = Text.assemble(
        (" Hookline demo", "bold"), ("  seed ", "dim"), str(snapshot.seed), "  ", until, "  ", (doing, "bold cyan")
    )
    if snapshot.duration_s is None or width < 70:
        return left
    row = Table.grid(expand=True)
    row.add_column()
    row.add_column(justify="right")
    row.add_row(left, ProgressBar(total=snapshot.duration_s, completed=snapshot.elapsed_s, width=24))
    return row


def _footer(snapshot: Snapshot, width: int) -> RenderableType:
    hint = {
        "publishing": "Ctrl-C stops publishing and drains",
        "draining": "Ctrl-C gives up",
        "comparing": "reading the mirror",
    }[snapshot.phase]
    told = _fit(f" {snapshot.happening}", width - cell_len(hint) - 2)
    return Text.assemble((told, "italic"), " ", (hint, "dim"))


def _panel(title: str, lines: Iterable[Text], colour: str) -> Panel:
    return Panel(Group(*lines), title=f"[bold]{title}[/]", title_align="left", border_style=colour, padding=(0, 1))


def _sender(snapshot: Snapshot, width: int, lines: int) -> list[Text]:
    sender = snapshot.sender
    pending = sender.deliveries.get("pending", 0)
    due = ""
    if pending and sender.next_due_ms is not None:
        wait_s = max(0.0, (sender.next_due_ms - snapshot.now_ms) / 1000)
        due = f"next in {wait_s:.1f} s"
    failed = sender.deliveries.get("failed", 0)
    return [
        _figure("published", sender.published, width=width),
        _figure("delivered", sender.delivered, "", "green", width=width),
        _figure("waiting", pending, due, "yellow" if pending else "", width=width),
        _figure("in flight", sender.deliveries.get("running", 0), width=width),
        _figure("given up", failed, "", "red" if failed else "", width=width),
        _figure("attempts", sender.attempts, f"{sender.attempts_failed:,} failed", width=width),
        _rule("last attempts", width),
        *_filled([_attempt(one, width) for one in sender.last_attempts], lines + 1),
    ]


def _receiver(snapshot: Snapshot, width: int, lines: int) -> list[Text]:
    receiver = snapshot.receiver
    lag = ""
    if receiver.oldest_waiting_ms is not None:
        lag = f"lag {_duration(max(0, snapshot.now_ms - receiver.oldest_waiting_ms))}"
    refused = forged_refused(receiver)
    open_runs = receiver.runs_open
    users = receiver.mirror["directory_user"]
    return [
        _figure("accepted", receiver.accepted, lag, width=width),
        _figure("duplicates", receiver.duplicates, "ignored", width=width),
        _figure("forged", refused, "refused", "red" if refused else "", width=width),
        _figure("applied", receiver.outcomes.get("applied", 0), "", "green", width=width),
        _figure("stale", receiver.outcomes.get("stale", 0), "ignored", width=width),
        _figure("handlers", receiver.runs.get("succeeded", 0), f"{open_runs:,} wait" if open_runs else "", width=width),
        _figure("mirror", sum(receiver.mirror.values()), f"rows, {users:,} {_counted('user', users)}", width=width),
        _rule("last changes", width),
        *_filled([_change(one, width) for one in receiver.last_changes], lines),
    ]


def _wire_tall(snapshot: Snapshot, width: int, lines: int) -> list[Text]:
    wire = snapshot.wire
    return [
        _line(Text.assemble(_wire_state(wire), (f"  {wire.forwarded:,} requests carried", "dim")), width),
        _figure("doubled", wire.doubled, width=width),
        _figure("delayed", wire.delayed, width=width),
        _figure("overtaken", wire.overtaken, width=width),
        _figure("forged", wire.forged, "copies sent", width=width),
        _figure("resets", wire.reset, width=width),
        _figure("outages", wire.outages, f"{wire.refused:,} refused", width=width),
        _rule("just now", width),
        *_filled([_deed(one, width) for one in reversed(snapshot.deeds)], lines),
    ]


def _wire_flat(snapshot: Snapshot, width: int) -> list[Text]:
    wire = snapshot.wire
    counts = Text("  ").join(
        Text.assemble((f"{name} ", "dim"), f"{count:,}")
        for name, count in (
            ("doubled", wire.doubled),
            ("delayed", wire.delayed),
            ("overtaken", wire.overtaken),
            ("forged", wire.forged),
            ("reset", wire.reset),
        )
    )
    latest = Text(" · ", "dim").join(
        Text.assemble((deed.verb, _verb_style(deed.verb)), " ", _short_type(deed.subject))
        for deed in list(reversed(snapshot.deeds))[:4]
    )
    return [
        _line(Text.assemble(_wire_state(wire), "  ", (f"outages {wire.outages}  ", "dim"), counts), width),
        _line(latest, width),
    ]


def _wire_state(wire: WireFigures) -> Text:
    if wire.is_down:
        return Text("▼ down", "bold red")
    if wire.is_calm:
        return Text("● calm", "bold green")
    return Text("● up", "bold yellow")


def _figure(name: str, value: int, note: str = "", style: str = "", *, width: int) -> Text:
    text = Text.assemble((f"{name:<11}", "dim"), (f"{value:>8,}", f"bold {style}".strip()))
    if note:
        text.append(f"  {note}", "dim")
    return _line(text, width)


def _attempt(one: AttemptLine, width: int) -> Text:
    ok = one.outcome == "succeeded"
    took = "" if one.duration_ms is None else _duration(one.duration_ms)
    return _line(
        Text.assemble(
            ("✓ " if ok else "✗ ", "green" if ok else "red"),
            (_fit(one.said, 7), "" if ok else "red"),
            (f"{took:>7} ", "dim"),
            (f"#{one.number}" if one.number > 1 else "", "yellow"),
            " " if one.number > 1 else "",
            _short_type(one.event_type),
        ),
        width,
    )


def _duration(ms: int) -> str:
    return f"{ms} ms" if ms < 1000 else f"{ms / 1000:.1f} s"


def _change(one: ChangeLine, width: int) -> Text:
    style = {"created": "green", "added": "green", "deleted": "red", "removed": "red", "hidden": "red"}.get(
        one.kind, ""
    )
    resource = _TINY_RESOURCES.get(one.resource, one.resource)
    return _line(Text.assemble((f"{one.kind:<9}", style), (f"{resource:<7}", "dim"), one.who), width)


def _deed(deed: Deed, width: int) -> Text:
    return _line(Text.assemble((f"{deed.verb:<13}", _verb_style(deed.verb)), _short_type(deed.subject)), width)


def _verb_style(verb: str) -> str:
    if verb in ("forged", "down", "unreachable") or verb.startswith("reset"):
        return "red"
    return "green" if verb == "up" else "yellow"


def _mirror(mirror: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {_counted(_SHORT_RESOURCES[name], count)}" for name, count in mirror.items())


def _counted(word: str, count: int) -> str:
    return word if count == 1 else _PLURALS.get(word, word + "s")


def _short_type(type_: str) -> str:
    return type_.removeprefix("dsync.")


def _rule(title: str, width: int) -> Text:
    return Text(f"─ {title} ".ljust(width, "─"), "dim")


def _filled(lines: list[Text], count: int) -> list[Text]:
    """Exactly so many lines, so that the picture never jumps."""
    return (lines + [Text("")] * count)[:count]


def _line(text: Text, width: int) -> Text:
    text.truncate(width, overflow="ellipsis")
    text.no_wrap = True
    return text


def _fit(text: str, width: int) -> str:
    """Exactly so many cells wide."""
    if cell_len(text) > width:
        return set_cell_size(text, max(0, width - 1)) + "…"
    return set_cell_size(text, width)


# -- lines ---------------------------------------------------------------------------------------------------


def plain_line(snapshot: Snapshot) -> str:
    """The moment in one line, for logs and pipes."""
    sender, wire, receiver = snapshot.sender, snapshot.wire, snapshot.receiver
    state = "down" if wire.is_down else "calm" if wire.is_calm else "up"
    return (
        f"{snapshot.elapsed_s:6.1f} s  {snapshot.phase}: published {sender.published}, delivered {sender.delivered}, "
        f"open {sender.open}, attempts {sender.attempts} | wire {state}: doubled {wire.doubled}, overtaken "
        f"{wire.overtaken}, forged {wire.forged}, reset {wire.reset} | accepted {receiver.accepted}, duplicates "
        f"{receiver.duplicates}, refused {forged_refused(receiver)}, applied {receiver.outcomes.get('applied', 0)}, "
        f"stale {receiver.outcomes.get('stale', 0)}, live rows {sum(receiver.mirror.values())}"
    )


# -- the summary ---------------------------------------------------------------------------------------------


def print_summary(report: Report, console: Console) -> None:
    """The figures of both ends and the answer."""
    sender, wire, receiver, handlers = report.sender, report.wire, report.receiver, report.handlers
    ended = f"drained in {report.drained_s:.1f} s" if report.drained else "[red]did not drain[/]"
    began = f"published for {report.published_s:.1f} s, wire down {wire.outages}×"
    console.print(f"[bold]Hookline demo[/], seed {report.seed}: {began}, {ended}\n", highlight=False)
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column()
    table.add_row(
        "Sender",
        f"published {sender.published:,} · delivered {sender.delivered:,} · "
        f"attempts {sender.attempts:,}, of them {sender.attempts_failed:,} failed",
    )
    table.add_row(
        "Wire",
        f"doubled {wire.doubled:,} · delayed {wire.delayed:,} · overtaken {wire.overtaken:,} · "
        f"forged {wire.forged:,} · reset {wire.reset:,}",
    )
    table.add_row(
        "Receiver",
        f"accepted {receiver.accepted:,} · duplicates ignored {receiver.duplicates:,} · "
        f"forged refused {report.forged_refused:,}",
    )
    table.add_row(
        "Worker",
        f"applied {receiver.outcomes.get('applied', 0):,} · stale ignored {receiver.outcomes.get('stale', 0):,} · "
        f"handler runs {receiver.runs.get('succeeded', 0):,}",
    )
    table.add_row("Mirror", _mirror(receiver.mirror))
    table.add_row(
        "Handlers",
        f"{handlers.welcomes:,} welcomes for {handlers.welcomes_expected:,} new users · "
        f"{handlers.access:,} with access, {handlers.access_expected:,} active",
    )
    if report.kept is not None:
        table.add_row("Kept", report.kept)
    console.print(table, highlight=False)
    console.print()
    for line, style in _verdict(report):
        console.print(Text(line, style))
    if not report.is_good and report.kept is None:
        hint = f"--seed {report.seed} --keep DIR keeps both databases and the log, to look into"
        console.print(Text(hint, "dim"))


def _verdict(report: Report) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    if not report.drained:
        waiting = report.sender.open + report.receiver.waiting + report.receiver.runs_open
        lines.append((f"✗ did not drain: {waiting:,} deliveries, entries and handler runs still wait", "red"))
    if report.wire.forged_accepted:
        lines.append((f"✗ {report.wire.forged_accepted:,} forged requests were accepted", "red"))
    if not report.handlers.is_right:
        lines.append(("✗ the handlers' own tables are not what the events ask for", "red"))
    if report.mirror_equals_source:
        told = f"✓ mirror equals source: {report.compared:,} rows and memberships, column by column"
        return [*lines, (told, "bold green")]
    count = len(report.differences)
    lines.append((f"✗ the mirror differs from the source in {count:,} {_counted('place', count)}:", "bold red"))
    lines += [(f"  {one}", "") for one in report.differences[:DIFFERENCES_SHOWN]]
    if count > DIFFERENCES_SHOWN:
        lines.append((f"  … and {count - DIFFERENCES_SHOWN:,} more", "dim"))
    return lines
