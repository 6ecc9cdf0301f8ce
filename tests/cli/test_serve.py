"""`hookline serve`: real processes on real ports and files, as somebody would run them."""

from __future__ import annotations

import http.client
import inspect
import json
import os
import resource
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import hookline
from hookline.cli import Exit
from hookline.cli.serve import _lines, serve
from hookline.config import SETTINGS
from hookline.testing.fake_workos import FakeWorkOS
from hookline.wire.signature import HEADER, sign

SECRET = "whsec_made_up_for_serving"
PATIENCE_S = 20


def until(holds: Callable[[], Any]) -> Any:
    """The first true answer; fails when there is none for a long time."""
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        if answer := holds():
            return answer
        time.sleep(0.02)
    raise AssertionError("nothing happened")


@dataclass
class Served:
    """A running `hookline serve`: its process and what it said of itself."""

    process: subprocess.Popen[str]
    facts: dict[str, Any]

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status and body of one request on a connection of its own."""
        with closing(http.client.HTTPConnection(self.facts["url"].removeprefix("http://"), timeout=10)) as connection:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()

    def post_event(self, number: int, path: str = "/webhooks") -> int:
        """Post the creation of one directory user, signed now; the status."""
        body = json.dumps(event(number)).encode()
        header = sign(body, SECRET, timestamp_ms=time.time_ns() // 1_000_000)
        return self.request("POST", path, body, {HEADER: header, "Content-Type": "application/json"})[0]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Signal it; exit code and stderr."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, errors


def event(number: int) -> dict[str, Any]:
    """The creation of directory user `number`."""
    moment = "2026-01-01T00:00:00.000Z"
    return {
        "event": "dsync.user.created",
        "id": f"event_{number:026}",
        "created_at": moment,
        "data": {
            "object": "directory_user",
            "id": f"directory_user_{number}",
            "directory_id": "directory_1",
            "first_name": "Ada",
            "state": "active",
            "created_at": moment,
            "updated_at": moment,
        },
    }


def clean_environment(**settings: str) -> dict[str, str]:
    """This environment with these HOOKLINE_ settings and no others."""
    base = {name: value for name, value in os.environ.items() if not name.startswith("HOOKLINE_")}
    base["PYTHONPATH"] = str(Path(hookline.__file__).parents[1])
    return base | {f"HOOKLINE_{name}": value for name, value in settings.items()}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Starts `hookline serve …` in an empty folder, on a free port; ends what still runs."""
    running: list[Served] = []

    def start(*arguments: str, **settings: str) -> Served:
        process = subprocess.Popen(
            [sys.executable, "-m", "hookline", "serve", *arguments, "--json"],
            cwd=tmp_path,
            env=clean_environment(**({"PORT": "0", "WEBHOOK_SECRETS": SECRET} | settings)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        said = process.stdout.readline()
        if not said:
            _, errors = process.communicate(timeout=PATIENCE_S)
            raise AssertionError(f"it did not start: exit {process.returncode}\n{errors}")
        running.append(Served(process, json.loads(said)))
        return running[-1]

    yield start
    for served in running:
        with suppress(ProcessLookupError):
            served.process.kill()
        served.process.communicate(timeout=PATIENCE_S)


def refused(tmp_path: Path, *arguments: str, **settings: str) -> str:
    """Stderr of a `hookline serve …` that exits 2 and leaves no file behind."""
    before = sorted(tmp_path.iterdir())
    result = subprocess.run(
        [sys.executable, "-m", "hookline", "serve", *arguments],
        cwd=tmp_path,
        env=clean_environment(**{"PORT": "0", **settings}),  # the usual one may be somebody's
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (result.returncode, result.stdout) == (Exit.USAGE, "")
    assert [path for path in sorted(tmp_path.iterdir()) if path.name != "__pycache__"] == before
    return result.stderr


def live_users(path: Path) -> set[str]:
    """Ids of the directory users in the mirror, as plain SQL shows them."""
    with closing(sqlite3.connect(path)) as connection:
        return {row[0] for row in connection.execute("select id from hookline_directory_users_live")}


@pytest.mark.parametrize(("hard", "level"), [(4096, "debug"), (777, "warning"), (256, "warning")])
def test_it_raises_its_limit_of_open_files(
    start: Callable[..., Served], monkeypatch: pytest.MonkeyPatch, hard: int, level: str
) -> None:
    """From the soft one of whoever started it to the hard one, which it leaves as it is; the log says so, and warns of
    few.
    """
    soft_before, hard_before = resource.getrlimit(resource.RLIMIT_NOFILE)
    kept: Any = subprocess.Popen

    def limited(*arguments: Any, **options: Any) -> Any:
        return kept(*arguments, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard)), **options)

    monkeypatch.setattr(subprocess, "Popen", limited)
    served = start("receiver", LOG_LEVEL="debug")
    found = resource.prlimit(served.process.pid, resource.RLIMIT_NOFILE)
    _, errors = served.stop()

    assert found == (hard, hard)
    [line] = [json.loads(line) for line in errors.splitlines() if "open files" in line]
    assert line["message"] == f"open files and connections: {hard}, the limit was 256 when started"
    assert line["level"] == level
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft_before, hard_before)


def test_the_receiver_mirrors_a_signed_event(start: Callable[..., Served], tmp_path: Path) -> None:
    """`serve receiver` stores a signed event, answers 200, and the mirror has its row; SIGTERM ends it with 0."""
    served = start("receiver")

    status = served.post_event(1)
    until(lambda: live_users(tmp_path / "hookline.db") == {"directory_user_1"})
    code, _ = served.stop()

    assert (status, code) == (200, Exit.OK)


def test_a_door_without_worker_only_stores(start: Callable[..., Served], tmp_path: Path) -> None:
    """With --no-worker events wait; a `serve worker` on the same file applies them, killed or not in between."""
    door = start("receiver", "--no-worker")
    assert door.post_event(1) == 200
    assert live_users(tmp_path / "hookline.db") == set()

    worker = start("worker")
    until(lambda: live_users(tmp_path / "hookline.db") == {"directory_user_1"})
    worker.process.kill()
    worker.process.wait(timeout=PATIENCE_S)
    statuses = [door.post_event(number) for number in range(2, 12)]
    start("worker")

    assert statuses == [200] * 10
    assert worker.facts["url"] is None
    until(lambda: len(live_users(tmp_path / "hookline.db")) == 11)


def test_a_sleeping_handler_delays_no_answer(start: Callable[..., Served], tmp_path: Path) -> None:
    """A handler that sleeps before its first write holds up neither the next 200 nor the mirror."""
    (tmp_path / "hooks.py").write_text(
        "import time\n"
        "from hookline import Receiver\n"
        f"hooks = Receiver('sqlite:///app.db', secrets=[{SECRET!r}])\n"
        "@hooks.on('dsync.user.created')\n"
        "def slow(event, tx):\n"
        "    open('asleep', 'w').close()\n"
        "    time.sleep(30)\n",
        encoding="utf-8",
    )
    served = start("receiver", "--app", "hooks:hooks")
    served.post_event(1)
    until((tmp_path / "asleep").exists)

    began_s = time.monotonic()
    status = served.post_event(2)
    took_s = time.monotonic() - began_s

    assert status == 200
    assert took_s < 5
    until(lambda: len(live_users(tmp_path / "app.db")) == 2)


def test_handlers_of_the_app_run_in_its_database(start: Callable[..., Served], tmp_path: Path) -> None:
    """--app names a Receiver as it was built: its handlers run, and settings that it does not use are said."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "hooks.py").write_text(
        "from hookline import Receiver\n"
        f"hooks = Receiver('sqlite:///app.db', secrets=[{SECRET!r}], path='/hooks')\n"
        "@hooks.on('dsync.user.created')\n"
        "def welcome(event, tx):\n"
        "    tx.execute('create table if not exists welcomed (id)')\n"
        "    tx.execute('insert into welcomed values (?)', (event.data['id'],))\n",
        encoding="utf-8",
    )
    (tmp_path / "hookline.toml").write_text("[sources.one]\n", encoding="utf-8")
    served = start("receiver", APP="shop.hooks:hooks", MAX_BODY="1 MiB", WEBHOOK_SECRETS="")

    status = served.post_event(1, "/hooks")

    def welcomed() -> list[tuple[str]]:
        with closing(sqlite3.connect(tmp_path / "app.db")) as connection, suppress(sqlite3.OperationalError):
            return connection.execute("select id from welcomed").fetchall()
        return []

    assert status == 200
    assert until(welcomed) == [("directory_user_1",)]
    assert served.facts["worker"] == {"handlers": 1, "app": "shop.hooks:hooks"}
    assert served.facts["warnings"][0].endswith("not used here: HOOKLINE_MAX_BODY, sources.one in hookline.toml")


def test_the_path_token_guards_the_door(start: Callable[..., Served]) -> None:
    """With a path token the door is there alone, and neither facts nor log show the token."""
    served = start("receiver", PATH_TOKEN="hard-to-guess-0123456789")

    statuses = [served.post_event(1, path) for path in ("/webhooks", "/webhooks/hard-to-guess-0123456789")]
    _, errors = served.stop()

    assert statuses == [404, 200]
    assert "hard-to-guess" not in json.dumps(served.facts) + errors


def test_each_source_has_its_door(start: Callable[..., Served], tmp_path: Path) -> None:
    """Of `[sources.…]`: their paths are said, each takes its own secrets, and one without any is closed for itself."""
    (tmp_path / "hookline.toml").write_text(
        '[sources.production]\n[sources.staging]\npath = "/from-staging"\n[sources.partner]\n', encoding="utf-8"
    )
    (tmp_path / "staging.txt").write_text("whsec_of_staging\n", encoding="utf-8")
    served = start(
        "receiver",
        WEBHOOK_SECRETS="",
        SOURCES_PRODUCTION_WEBHOOK_SECRETS=SECRET,
        SOURCES_STAGING_WEBHOOK_SECRETS_FILE="staging.txt",
        SOURCES_STAGING_PATH_TOKEN="hard-to-guess-0123456789",
    )

    paths = ("/webhooks/production", "/from-staging/hard-to-guess-0123456789", "/webhooks/partner", "/webhooks")
    statuses = [served.post_event(1, path) for path in paths]

    assert statuses == [200, 401, 503, 404]
    assert served.facts["receiver"]["sources"] == {
        "production": "/webhooks/production",
        "staging": "/from-staging/<path_token>",
        "partner": "/webhooks/partner",
    }
    assert served.facts["warnings"] == [
        "sources.partner.webhook_secrets is not set: each of its webhooks is answered 503"
    ]
    url = served.facts["url"]
    lines = list(_lines(served.facts, url))
    assert f"            production  {url}/webhooks/production" in lines
    assert f"            staging  {url}/from-staging/<path_token>" in lines


def test_without_a_secret_nothing_is_accepted(start: Callable[..., Served]) -> None:
    """No webhook secret: a warning at start, 503 for every webhook, and not ready."""
    served = start("receiver", WEBHOOK_SECRETS="")

    assert served.post_event(1) == 503
    assert served.request("GET", "/readyz")[0] == 503
    assert served.request("GET", "/healthz")[0] == 200
    assert any("HOOKLINE_WEBHOOK_SECRETS" in warning for warning in served.facts["warnings"])


def test_a_worker_lives_from_the_feed_alone(start: Callable[..., Served], tmp_path: Path) -> None:
    """No door, no secret: what the source's feed tells is in the mirror, and the start says where it is read."""
    with FakeWorkOS(tmp_path, delivers=False) as fake:
        directory = fake.directories.create_directory(fake.environment, organization_id=None, name="Okta")
        user = fake.directories.create_user(fake.environment, directory.id, idp_id="1")
        api = {"WORKOS_BASE_URL": fake.url, "WORKOS_API_KEY": fake.api_key, "WEBHOOK_SECRETS": ""}
        served = start("receiver", TAIL="only", RECONCILE_EVERY="30d", **api)
        until(lambda: live_users(tmp_path / "hookline.db") == {user.id})
        code, errors = served.stop()
    assert served.facts["receiver"]["path"] is None
    assert served.facts["warnings"] == []
    feeds = served.facts["worker"]["feeds"]
    assert feeds == {"default": {"api": fake.url, "tail": "only", "reconcile_every_s": 30 * 86_400}}
    assert code == 0
    assert "begins with events since" in errors
    assert fake.api_key not in errors


def test_sender_to_receiver(start: Callable[..., Served], tmp_path: Path) -> None:
    """An endpoint registered at `serve sender` gets a published event, signed, and the receiver mirrors it."""
    sender = start("sender", "--allow-private-targets", DATABASE_URL="sqlite:///sender.db")
    key = sender.facts["sender"]["made_api_keys"]["production"]
    call = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    endpoint = {"endpoint_url": f"http://127.0.0.1:{port}/webhooks", "events": ["dsync.user.created"]}

    status, answer = sender.request("POST", "/webhook_endpoints", json.dumps(endpoint).encode(), call)
    assert status == 201
    receiver = start("receiver", PORT=str(port), WEBHOOK_SECRETS=json.loads(answer)["secret"])
    draft = {"event": "dsync.user.created", "data": event(1)["data"]}
    published, _ = sender.request("POST", "/api/v1/events", json.dumps(draft).encode(), call)

    assert published == 201
    until(lambda: live_users(tmp_path / "hookline.db") == {"directory_user_1"})
    assert [served.stop()[0] for served in (sender, receiver)] == [Exit.OK, Exit.OK]


def test_all_is_both_ends_on_one_port(start: Callable[..., Served], tmp_path: Path) -> None:
    """`serve` is the door at /webhooks and the API elsewhere, on one database: what it publishes to itself arrives."""
    first = start("--allow-private-targets")
    keys = first.facts["sender"]["made_api_keys"]
    call = {"Authorization": f"Bearer {keys['staging']}", "Content-Type": "application/json"}
    door, api = first.post_event(1), first.request("GET", "/webhook_endpoints")[0]
    endpoint = {"endpoint_url": f"{first.facts['url']}/webhooks", "events": ["dsync.user.created"]}
    secret = json.loads(first.request("POST", "/webhook_endpoints", json.dumps(endpoint).encode(), call)[1])["secret"]
    first.stop()

    second = start(
        "--allow-private-targets", PORT=first.facts["url"].rpartition(":")[2], WEBHOOK_SECRETS=f"{SECRET},{secret}"
    )
    draft = {"event": "dsync.user.created", "data": event(2)["data"]}
    published = second.request("POST", "/api/v1/events", json.dumps(draft).encode(), call)[0]

    assert (door, api, published) == (200, 401, 201)
    assert first.facts.keys() == {"url", "sender", "receiver", "worker", "dashboard", "warnings"}
    assert keys.keys() == {"production", "staging"}
    assert second.facts["sender"]["made_api_keys"] == {}
    until(lambda: live_users(tmp_path / "hookline.db") == {"directory_user_1", "directory_user_2"})


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2120, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "cert.pem", folder / "key.pem"


def test_it_speaks_https(start: Callable[..., Served], certificate: tuple[Path, Path]) -> None:
    """With certificate and key the port speaks TLS, and the URL says so."""
    served = start("receiver", TLS_CERT=str(certificate[0]), TLS_KEY=str(certificate[1]))
    context = ssl.create_default_context(cafile=certificate[0])
    address = served.facts["url"].removeprefix("https://")

    with closing(http.client.HTTPSConnection(address, timeout=10, context=context)) as connection:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status

    assert status == 200


def test_a_key_of_another_certificate_is_refused(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    """What is no pair of certificate and key is said before anything starts."""
    cert, key = certificate

    errors = refused(tmp_path, "receiver", TLS_CERT=str(key), TLS_KEY=str(cert))

    assert "HOOKLINE_TLS_CERT: expected a certificate chain" in errors


@pytest.mark.parametrize("part", ["sender", "receiver"])
def test_a_file_that_is_no_database_is_said(tmp_path: Path, part: str) -> None:
    """It exits 1 with one clear line that says error and, of the receiver, one that logs."""
    (tmp_path / "letter.db").write_text("Dear Ada, this is no database. " * 40, encoding="utf-8")

    result = subprocess.run(
        [sys.executable, "-m", "hookline", "serve", part],
        cwd=tmp_path,
        env=clean_environment(PORT="0", DATABASE_URL="sqlite:///letter.db", WEBHOOK_SECRETS=SECRET),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )

    assert (result.returncode, result.stdout) == (Exit.FAILED, "")
    assert "\nerror[" in f"\n{result.stderr}"
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("part", "number"),
    [
        ("all", signal.SIGINT),
        ("sender", signal.SIGTERM),
        ("receiver", signal.SIGTERM),
        ("worker", signal.SIGINT),
    ],
)
def test_every_part_stops_cleanly(start: Callable[..., Served], part: str, number: signal.Signals) -> None:
    """One signal ends each part with exit code 0 and nothing worse than a warning in its log."""
    code, errors = start(part, LOG_FORMAT="json").stop(number)

    levels = {json.loads(line)["level"] for line in errors.splitlines() if line.startswith("{")}
    assert code == Exit.OK
    assert levels <= {"info", "warning"}


@pytest.mark.parametrize(
    ("arguments", "settings", "named"),
    [
        ([], {"PROT": "1"}, "HOOKLINE_PROT"),
        (["--port", "99999"], {}, "--port: expected a port from 0 to 65535"),
        (["receiver", "--path-token", "x"], {}, "a secret given as a flag"),
        (["worker", "--no-worker"], {}, "--no-worker"),
        (["frontend"], {}, "frontend"),
        (["receiver", "--app", "nowhere:hooks"], {}, "no module 'nowhere'"),
        (["receiver", "--app", "json:nothing"], {}, "json has no attribute 'nothing'"),
        (["receiver", "--app", "json:dumps"], {}, "expected a hookline.Receiver at json:dumps, got function"),
        ([], {"DATABASE_URL": "mysql://db/x"}, "HOOKLINE_DATABASE_URL"),
        ([], {"DATABASE_URL": "sqlite:///not/there/x.db"}, "HOOKLINE_DATABASE_URL: expected a file in a folder"),
        (["receiver"], {"RECEIVER_DATABASE_URL": "sqlite:///."}, "HOOKLINE_RECEIVER_DATABASE_URL: expected a file"),
        (["sender", "--database-url", "sqlite:///a.db?wait=1"], {}, "--database-url: the only option is"),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(
    tmp_path: Path, arguments: list[str], settings: dict[str, str], named: str
) -> None:
    """A wrong setting, part or app exits 2 with one line that names it, and one that says what to do."""
    errors = refused(tmp_path, *arguments, **settings)

    assert named in errors
    assert [line[:6] for line in errors.splitlines()] in (["error["], ["error[", "  to d"])


def test_a_taken_port_is_said(start: Callable[..., Served]) -> None:
    """A port in use exits 2 and names the setting."""
    taken = start("receiver")

    with pytest.raises(AssertionError, match=r"exit 2\n.*HOOKLINE_PORT: cannot listen on 127\.0\.0\.1:\d+: .*in use"):
        start("receiver", PORT=taken.facts["url"].rpartition(":")[2])


def test_the_block_at_start_is_for_people(tmp_path: Path) -> None:
    """Without --json the start says what runs, where, and on which file."""
    with subprocess.Popen(
        [sys.executable, "-m", "hookline", "serve", "receiver"],
        cwd=tmp_path,
        env=clean_environment(PORT="0", WEBHOOK_SECRETS=SECRET),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().rstrip() for _ in range(6)]
        process.send_signal(signal.SIGTERM)

    url = lines[0].rpartition(" ")[2]
    assert lines[0].startswith("Hookline ")
    assert lines[1] == f"  receiver  {url}/webhooks  sqlite:///{tmp_path / 'hookline.db'}"
    assert lines[2] == "  worker    applies events; no handlers"
    assert lines[3] == f"  dashboard {url}/dashboard"
    assert lines[4].partition(": ")[0].strip() == "nobody has an account yet; this link makes the first, once"
    assert lines[4].partition(": ")[2].startswith(f"{url}/dashboard/first?token=")
    assert lines[5] == "Ctrl-C stops it."


def test_serve_takes_every_setting_that_may_be_a_flag() -> None:
    """The flags of `serve` are those of the table, no more and no fewer."""
    own = {"part", "worker", "as_json"}

    assert inspect.signature(serve).parameters.keys() - own == {s.name for s in SETTINGS.values() if s.flag}
    assert not [s.name for s in SETTINGS.values() if s.flag and s.secret]


def test_metrics_of_both_ends_on_one_port(start: Callable[..., Served]) -> None:
    """/metrics shows sender, receiver and process to this machine; a proxied request needs the token."""
    served = start()
    served.post_event(1)

    status, body = served.request("GET", "/metrics")
    proxied, _ = served.request("GET", "/metrics", headers={"X-Forwarded-For": "192.0.2.1"})

    text = body.decode()
    assert (status, proxied) == (200, 401)
    for name in (
        'hookline_build_info{python="',
        'hookline_receiver_entries_total{kind="accepted",source="default"} 1.0',
        'hookline_sender_backlog{environment="production",state="due"} 0.0',
        "process_resident_memory_bytes",
    ):
        assert name in text


def test_a_worker_has_a_port_for_its_probes(start: Callable[..., Served]) -> None:
    """--metrics-listen gives a process without a port one for /healthz, /readyz and /metrics."""
    worker = start("worker", "--metrics-listen", "127.0.0.1:0", METRICS_TOKEN="scrape-0123456789abcdef")
    probes = Served(worker.process, worker.facts["probes"])

    statuses = [probes.request("GET", path)[0] for path in ("/healthz", "/readyz", "/metrics")]

    def metrics() -> bytes:
        status, body = probes.request("GET", "/metrics", headers={"Authorization": "Bearer scrape-0123456789abcdef"})
        assert status == 200
        return bytes(body)

    assert worker.facts["url"] is None
    assert statuses == [200, 200, 401]
    # There from the worker's first round on.
    until(lambda: b"hookline_receiver_worker_round_timestamp_seconds" in metrics())


def test_a_taken_port_for_probes_is_said(start: Callable[..., Served], tmp_path: Path) -> None:
    """It exits 2, under the name of its own setting."""
    taken = start("receiver").facts["url"].removeprefix("http://")

    with pytest.raises(AssertionError, match=r"exit 2\n.*HOOKLINE_METRICS_LISTEN: cannot listen on .*in use"):
        start("worker", METRICS_LISTEN=taken)
