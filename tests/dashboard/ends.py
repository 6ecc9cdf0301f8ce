"""Both ends and the dashboard over them, in this process and without sockets, for pages that deliver nothing."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from cryptography.fernet import Fernet

from hookline.dashboard.accounts import Accounts
from hookline.dashboard.app import Dashboard
from hookline.receiver.app import Receiver
from hookline.rules.address import parse_networks
from hookline.rules.redaction import Places
from hookline.sender.app import SenderApp
from hookline.storage import connect
from hookline.testing import TurnedClock

from .people import CHEAP, PASSWORD


class Ends:
    """A sender and a receiver, and the accounts of an admin, an operator and a viewer."""

    def __init__(self, folder: Path, ends: ExitStack) -> None:
        self.clock = TurnedClock()
        database = connect(f"sqlite:///{folder / 'sender.db'}")
        ends.callback(database.close)
        self.sender = SenderApp(
            database,
            encryption_keys=[Fernet.generate_key().decode()],
            clock=self.clock,
            egress=parse_networks(["203.0.113.7"], setting=""),
            makes_keys=False,
        )
        ends.callback(self.sender.close)
        self.receiver = Receiver(
            f"sqlite:///{folder / 'receiver.db'}", secrets=["a secret"], allowed_ips="192.0.2.0/24", clock=self.clock
        )
        ends.callback(self.receiver.close)
        self.accounts = Accounts(database, clock=self.clock, hasher=CHEAP)
        self.accounts.open()
        for name, role in (("ada", "admin"), ("otto", "operator"), ("vera", "viewer")):
            self.accounts.add_user(name, role, password=PASSWORD)  # type: ignore[arg-type]
        self.dashboard = Dashboard(
            accounts=self.accounts,
            sender=self.sender,
            receiver=self.receiver,
            clock=self.clock,
            redact=Places(("$..phone",)),
            trusted_proxies=parse_networks(["10.0.0.0/8"], setting=""),
        )
