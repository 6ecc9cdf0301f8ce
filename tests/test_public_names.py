"""What `import hookline` gives, and what it costs."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

import hookline


def run(program: str) -> Any:
    """What a fresh interpreter prints, as JSON."""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=30)
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", hookline.__all__)
def test_every_public_name_is_there(name: str) -> None:
    """Each name of `__all__` leads to the thing of that name, the same one each time."""
    value = getattr(hookline, name)

    assert value is getattr(hookline, name)
    assert name == "__version__" or value.__name__ == name


def test_the_promised_names_are_public() -> None:
    """The contract's own list."""
    promised = {"Event", "verify", "Receiver", "WebhookError", "InvalidSignature", "InvalidBody", "Change"}

    assert promised <= set(hookline.__all__)
    assert set(dir(hookline)) == set(hookline.__all__)


def test_another_name_is_an_attribute_error() -> None:
    """As with any module: tools ask for names that are not there."""
    with pytest.raises(AttributeError, match="no attribute 'Sender'"):
        hookline.Sender  # noqa: B018


def test_importing_it_loads_next_to_nothing() -> None:
    """Neither a database nor an event loop nor msgspec, until something is asked for."""
    loaded = run("import json, sys; import hookline; print(json.dumps(sorted(sys.modules)))")

    assert not {"sqlite3", "asyncio", "msgspec", "hookline.receiver"} & set(loaded)


def test_verifying_and_receiving_need_no_extra() -> None:
    """The light install has msgspec and nothing else of others'."""
    loaded = run(
        "import json, sys; before = set(sys.modules)\n"
        "from hookline import *\n"
        "import hookline.receiver.asgi, hookline.receiver.wsgi, hookline.receiver.work\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in set(sys.modules) - before})))"
    )

    # msgspec looks for typing_extensions and does without.
    assert set(loaded) - sys.stdlib_module_names - {"typing_extensions"} == {"hookline", "msgspec"}
