"""The secrets that a command signs or verifies with: never a flag's value, but where a flag says they are."""

from __future__ import annotations

import os
from pathlib import Path

from hookline.config import load
from hookline.errors import ConfigError


def signing_secrets(variable: str | None, file: str | None = None) -> tuple[str, ...]:
    """One or several: of the variable that `--secret-env` names, of the file that `--secret-file` names, or in force.

    Several are separated by commas, as in HOOKLINE_WEBHOOK_SECRETS.

    Raises: ConfigError where there is none; it shows no secret.
    """
    if variable is not None and file is not None:
        raise ConfigError("--secret-file", "expected it or --secret-env, got both")
    if variable is not None:
        if not (secrets := _several(os.environ.get(variable, ""))):
            raise ConfigError(variable, "expected the environment variable to hold a secret; it is not set or empty")
        return secrets
    if file is not None:
        try:
            text = Path(file).read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError("--secret-file", f"{file} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigError("--secret-file", f"{file} is not UTF-8 text") from None
        if not (secrets := _several(text)):
            raise ConfigError("--secret-file", f"expected {file} to hold a secret; it is empty")
        return secrets
    in_force: tuple[str, ...] | None = load()["webhook_secrets"]
    if in_force is None:
        raise ConfigError(
            "--secret-env", "expected the name of a variable that holds the secret, or HOOKLINE_WEBHOOK_SECRETS set"
        )
    return in_force


def _several(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
