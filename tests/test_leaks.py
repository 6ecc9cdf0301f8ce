"""The watch over the suite catches what it is there for, in every channel; and nothing else."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from base64 import b64encode, urlsafe_b64encode
from pathlib import Path

import pytest

from tests.leaks import Watch

ROOT = Path(__file__).parents[1]
DIGEST = hashlib.sha256(b"a body").digest()

LEAKS = {
    "whsec": ("whsec_Y3VyaW91cw", "a secret"),
    "sk": ("sk_test_a2V5X2Zvcg", "a secret"),
    "hex": (DIGEST.hex(), "a digest"),
    "HEX": (DIGEST.hex().upper(), "a digest"),
    "base64": (b64encode(DIGEST).decode(), "a digest"),
    "unpadded": (urlsafe_b64encode(DIGEST).decode().rstrip("="), "a digest"),
    "email": ("grace.hopper+work@mail.kestrel.example", "an e-mail address"),
    "first": ("Wanjiru", "a name"),
    "last": ("O'Brien", "a name"),
    "sample": ("Okafor-Reyes", "a name"),
    "company": ("Copper Finch", "a name"),
}

HARMLESS = (
    "event event_01ARZ3NDEKTSV4RRFFQ69G5FAV: accepted, other bytes (sha256 1f2e3d4c…)",
    "webhook_endpoint_01ARZ3NDEKTSV4RRFFQ69G5FAV",  # as long as a digest in base64
    "whsec_…c31f, sk_live_…9ab",
    "HOOKLINE_WEBHOOK_SECRETS: expected one or more signing secrets",
    "postgresql://hookline@127.0.0.1:5432/hookline",
    "hookline_receiver_worker_round_timestamp_seconds_total",
    "/tmp/Of-Some-1/Test_run0/lib/python3/site-pac/x",
    "a1" * 31,
    "Graceful stop of Adapters: Quill",
)

# One test per leak and channel, as a user of the suite would write it.
SUITE = """
import json, logging, subprocess, sys
import prometheus_client
import pytest
from prometheus_client.core import GaugeMetricFamily
from hookline.errors import ConfigError, RequestError, StorageUnavailable
from hookline.wire.signature import sign

LEAKS = json.loads({leaks!r})
each = pytest.mark.parametrize("leak", LEAKS.values(), ids=LEAKS.keys())

@each
def test_message(leak):
    logging.getLogger("hookline.worker").debug("went wrong: %s", leak)

@each
def test_field(leak):
    logging.getLogger("hookline").info("went wrong", extra={{"reason": leak}})

@each
def test_traceback(leak):
    try:
        raise RuntimeError(leak)
    except RuntimeError:
        logging.getLogger("hookline.receiver").exception("it failed")

@each
def test_error(leak):
    with pytest.raises(StorageUnavailable):
        raise StorageUnavailable(f"cannot keep {{leak}}")

@each
def test_error_of_two_arguments(leak):
    ConfigError("secrets", leak)

@each
def test_errors_of_a_request(leak):
    RequestError(422, None, "refused", [{{"message": leak}}])

@each
def test_note(leak):
    ConfigError("", "harmless").add_note(leak)

@each
def test_metric(leak):
    class Collector(prometheus_client.registry.Collector):
        def collect(self):
            family = GaugeMetricFamily("hookline_x", "about", labels=("what",))
            family.add_metric((leak,), 1)
            yield family
    registry = prometheus_client.CollectorRegistry()
    registry.register(Collector())
    prometheus_client.generate_latest(registry)

PROGRAM = "import sys; sys.stderr.buffer.write(sys.argv[1].encode())"

@each
def test_process(leak):
    subprocess.run([sys.executable, "-c", PROGRAM, leak], capture_output=True)

@each
def test_process_read_by_lines(leak):
    with subprocess.Popen([sys.executable, "-c", PROGRAM, leak], stderr=subprocess.PIPE, text=True) as process:
        assert leak in "".join(process.stderr)

@each
def test_own_stderr(leak):
    print(leak, file=sys.stderr)

@pytest.fixture
def late():
    yield
    logging.getLogger("hookline").warning("at the end: ada@lanternworks.example")

def test_teardown(late):
    pass

def test_secret_in_use():
    sign(b"body", "hunter2-hunter2", timestamp_ms=1)
    ConfigError("secrets", "got hunter2-hunter2")

def test_secret_of_a_process():
    environment = {{"HOOKLINE_PATH_TOKEN": "n0body-guesses"}}
    program = "import sys, os; sys.stderr.write(os.environ['HOOKLINE_PATH_TOKEN'])"
    subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True)

def test_clean():
    for text in json.loads({harmless!r}):
        logging.getLogger("hookline").error("%s", text)

@pytest.mark.may_tell("a name", reason="this is what an exception looks like")
def test_excepted():
    logging.getLogger("hookline").error("Wanjiru")

@pytest.mark.may_tell("a name", reason="of names alone")
def test_excepted_too_little():
    logging.getLogger("hookline").error("Wanjiru whsec_Y3VyaW91cw")
"""
CHANNELS = 11
CLEAN = {"test_clean", "test_excepted"}


def test_every_leak_in_every_channel_fails_its_test(tmp_path: Path) -> None:
    """Each by itself, at the phase it happened in; the report says where and never what."""
    leaks = {name: leak for name, (leak, _) in LEAKS.items()}
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["tests.leaks"]\n', encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    suite = SUITE.format(leaks=json.dumps(leaks), harmless=json.dumps(HARMLESS))
    (tmp_path / "test_all.py").write_text(suite, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rA", "--show-capture=no", "--tb=short"],
        cwd=tmp_path,
        env={"PATH": "", "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "COLUMNS": "1000"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    report, _, summary = done.stdout.partition("short test summary info")
    passed = {line.split("::")[1] for line in summary.splitlines() if line.startswith("PASSED")}
    failed = [line.split("::")[1].split(" - ")[0] for line in summary.splitlines() if line.startswith("FAILED")]
    assert passed == {*CLEAN, "test_teardown"}, done.stdout
    assert len(failed) == CHANNELS * len(LEAKS) + 3  # and two secrets in use, and what is excepted too little
    assert "ERROR test_all.py::test_teardown" in summary
    assert [name for name, leak in leaks.items() if leak in report] == []
    assert len(re.findall(r"hookline\.worker at debug \(test_all\.py:\d+\) told ", report)) == len(LEAKS)
    for name, (_, kind) in LEAKS.items():
        assert f", field reason told {kind}: ‹{kind}›\n" in report, name


@pytest.mark.parametrize(("leak", "kind"), LEAKS.values(), ids=LEAKS)
def test_what_is_found_is_masked(leak: str, kind: str) -> None:
    """Wherever it stands in the text."""
    watch = Watch()
    for text in (leak, f"({leak})", f"got {leak!r}, and", f'{{"x":"{leak}"}}'):
        watch.tell("here", text)
        (line,) = watch.search()
        assert leak not in line
        assert f"‹{kind}›" in line


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_harmless_is_not_found(text: str) -> None:
    """Ids, masked secrets, names of settings, short digests, paths."""
    watch = Watch()
    watch.tell("here", text)
    assert watch.search() == []
