"""Settings: where they come from, which wins, and what a wrong one is answered with."""

from __future__ import annotations

import dataclasses
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from hookline.config import SETTINGS, SOURCE_SETTINGS, Settings, load, refuse_secret_flags
from hookline.errors import ConfigError
from hookline.rules.address import WORKOS_ADDRESSES
from hookline.rules.schedule import Schedule

FERNET = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


def loaded(tmp_path: Path, toml: str = "", flags: Any = None, **variables: str) -> Settings:
    """Settings from these sources alone; hookline.toml is written only where it has text."""
    if toml:
        (tmp_path / "hookline.toml").write_text(toml, encoding="utf-8")
    return load(flags, environ={f"HOOKLINE_{name}": value for name, value in variables.items()}, directory=tmp_path)


def test_defaults_stand_without_any_source(tmp_path: Path) -> None:
    """With nothing set, both ends use hookline.db and the server listens on 127.0.0.1:8080."""
    serve = loaded(tmp_path).serve()

    assert (serve.host, serve.port) == ("127.0.0.1", 8080)
    assert serve.sender.database_url == serve.receiver.database_url == "sqlite:///hookline.db"
    assert serve.sender.allow_private_targets is False


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:8080"),
        ("::", "http://[::1]:8080"),
        ("192.0.2.7", "http://192.0.2.7:8080"),
        ("::1", "http://[::1]:8080"),
    ],
)
def test_where_this_machine_reaches_it(tmp_path: Path, host: str, url: str) -> None:
    """Of every interface one that has an address to call."""
    serve = loaded(tmp_path, HOST=host).serve()

    assert serve.url_here == url
    assert dataclasses.replace(serve, tls_cert=tmp_path).url_here == url.replace("http:", "https:")


def test_unset_is_none(tmp_path: Path) -> None:
    """What has no default stays None: the component's own default is not repeated here."""
    settings = loaded(tmp_path)

    assert settings.receiver().alone.webhook_secrets is None
    assert settings.receiver().alone.max_body_bytes is None
    assert settings.sender().api_key is None


def test_precedence_is_flag_environment_file_default(tmp_path: Path) -> None:
    """Each source beats the ones below it, and the origin says which won."""
    toml = 'port = 1001\nhost = "file.test"\nlog_level = "debug"\n'
    settings = loaded(tmp_path, toml, {"port": "1003", "host": None}, PORT="1002", HOST="environment.test")

    assert {
        name: (settings[name], settings.resolved[name].origin) for name in ("port", "host", "log_level", "app")
    } == {
        "port": (1003, "--port"),
        "host": ("environment.test", "HOOKLINE_HOST"),
        "log_level": ("debug", "log_level in hookline.toml"),
        "app": (None, "default"),
    }


def test_an_empty_variable_counts_as_not_set(tmp_path: Path) -> None:
    """`HOOKLINE_PORT=` in a compose file leaves hookline.toml's value in force."""
    assert loaded(tmp_path, "port = 1001\n", PORT="")["port"] == 1001


def test_each_end_may_have_its_own_database(tmp_path: Path) -> None:
    """The split URLs win over the shared one, each for its end only."""
    settings = loaded(tmp_path, DATABASE_URL="sqlite:///both.db", SENDER_DATABASE_URL="sqlite:///sender.db")

    assert settings.sender().database_url == "sqlite:///sender.db"
    assert settings.receiver().database_url == "sqlite:///both.db"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("webhook_secrets", "one, two,", ("one", "two")),
        ("webhook_secrets", "one\ntwo\n", ("one", "two")),
        ("allowed_ips", "203.0.113.7,2001:db8::/32", (ip_network("203.0.113.7/32"), ip_network("2001:db8::/32"))),
        ("max_body", "2 MiB", 2_097_152),
        ("max_body", "4096", 4096),
        ("allow_private_targets", "yes", True),
        ("allow_private_targets", "0", False),
        ("webhook_tolerance", "0", 0.0),
        ("webhook_tolerance", "5m", 300.0),
        ("retry_schedule", "30s, 5m, 1.5h", Schedule.from_gaps((30.0, 300.0, 5400.0))),
        ("retry_schedule", "none", Schedule((), 0)),
        ("encryption_key", f"{FERNET},{FERNET}", (FERNET, FERNET)),
        ("app", "shop.hooks:hooks", "shop.hooks:hooks"),
        ("port", "0", 0),
    ],
)
def test_text_becomes_its_value(tmp_path: Path, name: str, text: str, value: object) -> None:
    """Every form that a setting's text may take is read as what it means."""
    assert loaded(tmp_path, **{name.upper(): text})[name] == value


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ('allowed_ips = ["203.0.113.7"]', "allowed_ips", (ip_network("203.0.113.7/32"),)),
        ('webhook_secrets = ["one", "two"]', "webhook_secrets", ("one", "two")),
        ("allow_private_targets = true", "allow_private_targets", True),
        ("max_body = 4096", "max_body", 4096),
        ('retry_schedule = ["1s", "2m"]', "retry_schedule", Schedule.from_gaps((1.0, 120.0))),
    ],
)
def test_toml_may_use_its_own_types(tmp_path: Path, line: str, name: str, value: object) -> None:
    """Lists, numbers and booleans of TOML mean the same as their text."""
    assert loaded(tmp_path, line)[name] == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("port", "65536"),
        ("port", "-1"),
        ("port", "٣"),
        ("port", "80a"),
        ("database_url", "mysql://db/x"),
        ("database_url", "sqlite://relative.db"),
        ("allowed_ips", ","),
        ("allowed_ips_url", "http://hooks.example.com/list"),
        ("max_body", "0"),
        ("max_body", "2 parsecs"),
        ("allow_private_targets", "perhaps"),
        ("log_level", "loud"),
        ("retry_schedule", "1s,2s,3s,4s,5s,6s,7s"),
        ("webhook_tolerance", "nan"),
        ("app", "shop.hooks"),
        ("tls_cert", "nowhere.pem"),
    ],
)
def test_a_wrong_value_names_setting_value_and_expectation(tmp_path: Path, name: str, text: str) -> None:
    """The error has the variable, what came and what the setting takes."""
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, **{name.upper(): text})

    assert caught.value.setting == f"HOOKLINE_{name.upper()}"
    assert f"expected {SETTINGS[name].expected}; got {text!r}" in str(caught.value)


@pytest.mark.parametrize("text", ["203.0.113.7/24", "localhost", "workos, 1.2.3"])
def test_a_wrong_network_says_which(tmp_path: Path, text: str) -> None:
    """An entry that is no network is named under the name the user wrote."""
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, ALLOWED_IPS=text)

    assert caught.value.setting == "HOOKLINE_ALLOWED_IPS"
    assert text.split(", ")[-1] in str(caught.value)


def test_workos_stands_for_its_published_addresses(tmp_path: Path) -> None:
    """The word may stand alone or beside others, and is shown as the addresses it means."""
    networks = loaded(tmp_path, ALLOWED_IPS="workos, 198.51.100.0/24")["allowed_ips"]

    assert networks == (*WORKOS_ADDRESSES.networks, ip_network("198.51.100.0/24"))
    assert loaded(tmp_path, ALLOWED_IPS="workos")["allowed_ips"] == WORKOS_ADDRESSES.networks


@pytest.mark.parametrize("text", ["4d", "0s", "1", "1s,,2s"])
def test_a_wrong_schedule_says_which_wait(tmp_path: Path, text: str) -> None:
    """What the schedule's own rule says is passed on under the name the user wrote."""
    with pytest.raises(ConfigError, match=r"^HOOKLINE_RETRY_SCHEDULE: expected (waits|at most 72h)"):
        loaded(tmp_path, RETRY_SCHEDULE=text)


@pytest.mark.parametrize("line", ["port = true", "port = 1.5", "host = 1", "max_body = nan", "app = []"])
def test_a_wrong_toml_type_is_refused(tmp_path: Path, line: str) -> None:
    """A TOML value of another type is wrong even where Python could convert it."""
    with pytest.raises(ConfigError, match=r"in hookline\.toml: expected"):
        loaded(tmp_path, line)


@pytest.mark.parametrize("name", [setting.name for setting in SETTINGS.values() if setting.secret])
def test_a_wrong_secret_is_never_shown(tmp_path: Path, name: str) -> None:
    """An unacceptable secret is named by its setting alone."""
    wrong = "Tr0ub4dor&3 \ud800"

    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, **{name.upper(): wrong} if name != "webhook_secrets" else {"WEBHOOK_SECRETS": ",,"})

    assert "Tr0ub4dor" not in str(caught.value)
    assert name.upper() in str(caught.value)


def test_no_repr_or_listing_shows_a_secret(tmp_path: Path) -> None:
    """Neither the dataclasses' repr nor `shown()` holds a secret's text."""
    secret = "sk_test_0123456789abcdef"
    settings = loaded(
        tmp_path,
        API_KEY=secret,
        STAGING_API_KEY=secret,
        WEBHOOK_SECRETS=secret,
        PATH_TOKEN=secret,
        WORKOS_API_KEY=secret,
        ENCRYPTION_KEY=FERNET,
    )

    text = repr(settings) + repr(settings.serve()) + str([entry.shown() for entry in settings.resolved.values()])

    assert settings.sender().api_key == secret
    assert secret not in text
    assert FERNET not in text


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("PROT", "HOOKLINE_PORT"),
        ("WEBHOOK_SECRET", "HOOKLINE_WEBHOOK_SECRETS"),
        ("PORT_FILE", "HOOKLINE_PORT"),
        ("DATABASE_URI", "HOOKLINE_DATABASE_URL"),
    ],
)
def test_an_unknown_variable_names_the_nearest(tmp_path: Path, variable: str, nearest: str) -> None:
    """A misspelt variable stops the start and says what may have been meant."""
    with pytest.raises(ConfigError, match=f"^HOOKLINE_{variable}: .* the nearest is {nearest}$"):
        loaded(tmp_path, **{variable: "1"})


def test_an_unknown_toml_key_names_the_nearest(tmp_path: Path) -> None:
    """The same holds in hookline.toml; a table there is a key that nobody knows."""
    with pytest.raises(ConfigError, match=r"^webhook_secret: .* nearest is webhook_secrets$"):
        loaded(tmp_path, 'webhook_secret = "x"')


@pytest.mark.parametrize("text", ["port = ", "port = 1\nport = 2\n", "[[["])
def test_a_file_that_is_not_toml_is_refused(tmp_path: Path, text: str) -> None:
    """A broken hookline.toml is an error that names the file, never ignored."""
    with pytest.raises(ConfigError, match=r"^hookline\.toml: is not TOML"):
        loaded(tmp_path, text)


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    """`…_FILE` names a file whose text, without its last line end, is the secret; in hookline.toml too."""
    (tmp_path / "key").write_text("sk_test_0123456789abcdef\n", encoding="utf-8")
    (tmp_path / "secrets").write_text("one\ntwo\n", encoding="utf-8")

    settings = loaded(tmp_path, 'webhook_secrets_file = "secrets"', API_KEY_FILE="key")

    assert settings["api_key"] == "sk_test_0123456789abcdef"
    assert settings["webhook_secrets"] == ("one", "two")
    assert settings.resolved["api_key"].origin == "HOOKLINE_API_KEY_FILE"


def test_a_missing_secret_file_is_named(tmp_path: Path) -> None:
    """The error has the variable, the path and the system's reason."""
    with pytest.raises(ConfigError, match=r"^HOOKLINE_API_KEY_FILE: cannot read gone: No such file"):
        loaded(tmp_path, API_KEY_FILE="gone")


def test_a_secret_set_twice_is_refused(tmp_path: Path) -> None:
    """The variable and its file at once leave open which counts: neither does."""
    with pytest.raises(ConfigError, match="is set twice"):
        loaded(tmp_path, API_KEY="sk_test_0123456789abcdef", API_KEY_FILE="key")


def test_tls_takes_certificate_and_key(tmp_path: Path) -> None:
    """One without the other is an error that names the missing one."""
    (tmp_path / "cert.pem").write_text("x", encoding="utf-8")

    with pytest.raises(ConfigError, match=r"^HOOKLINE_TLS_KEY: is not set, and tls_cert is"):
        loaded(tmp_path, TLS_CERT=str(tmp_path / "cert.pem"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["serve", "--api-key", "x"],
        ["serve", "--webhook-secrets=x"],
        ["sign", "-", "--secret", "x"],
        ["--path-token=x"],
        ["--workos-api-key", "x"],
    ],
)
def test_a_secret_as_a_flag_is_refused(arguments: list[str]) -> None:
    """The refusal names the flag and the way that exists, and does not repeat the secret."""
    with pytest.raises(ConfigError, match="a secret given as a flag is seen in process lists"):
        refuse_secret_flags(arguments)


def test_other_flags_are_no_secrets() -> None:
    """`--secret-env` names a variable, and nothing after `--` is a flag."""
    refuse_secret_flags(["verify", "-", "--secret-env", "S", "--port=1", "--", "--api-key"])


def test_a_database_password_is_masked() -> None:
    """A URL's password is not shown, neither in a listing nor in the error about a wrong URL."""
    with pytest.raises(ConfigError) as caught:
        load(environ={"HOOKLINE_DATABASE_URL": "mysql://ada:hunter2@db/x"}, directory=Path())

    assert "hunter2" not in str(caught.value)
    assert "mysql://ada:***@db/x" in str(caught.value)


def test_every_setting_reaches_a_process(tmp_path: Path) -> None:
    """No setting of the table is read and then forgotten: each changes some process's configuration."""
    pem = tmp_path / "pem"
    pem.write_text("x", encoding="utf-8")
    other = {
        "database_url": "sqlite:///x.db",
        "sender_database_url": "sqlite:///s.db",
        "receiver_database_url": "sqlite:///r.db",
        "host": "::1",
        "port": "1",
        "tls_cert": str(pem),
        "tls_key": str(pem),
        "log_level": "error",
        "log_format": "json",
        "api_key": "sk_test_0123456789abcdef",
        "staging_api_key": "sk_test_fedcba9876543210",
        "encryption_key": FERNET,
        "allow_private_targets": "true",
        "allowed_targets": "10.0.0.0/8",
        "retry_schedule": "1s",
        "staging_retry_schedule": "2s",
        "targets_ca": str(pem),
        "egress_ips": "203.0.113.7",
        "egress_proxy_url": "http://proxy.test:3128",
        "api_rate_limit": "5",
        "directory_user_groups": "filled",
        "directory_users_per_s": "4",
        "disable_after": "2d",
        "retention": "90d",
        "staging_retention": "2d",
        "webhook_secrets": "a",
        "path_token": "0123456789abcdef",
        "allowed_ips": "203.0.113.7",
        "allowed_ips_url": "https://hooks.example.com/list",
        "trusted_proxies": "203.0.113.8",
        "max_body": "1",
        "webhook_tolerance": "1",
        "redact": "invoice.*:card.number",
        "inbox_retention": "20d",
        "inbox_redacted_retention": "80d",
        "inbox_id_retention": "300d",
        "workos_api_key": "sk_test_0123456789abcdef",
        "workos_base_url": "https://api.example.com/workos",
        "tail": "on",
        "tail_types": "dsync.user.created, invoice.paid",
        "reconcile_every": "6h",
        "app": "a:b",
        "metrics_listen": "[::1]:9464",
        "metrics_token": "0123456789abcdef",
        "drain_delay": "5s",
        "dashboard": "false",
        "dashboard_session": "12h",
        "dashboard_redact": "$..phone",
        "dashboard_public_url": "https://hooks.example.com",
        "oidc_issuer": "https://login.example.com",
        "oidc_client_id": "hookline",
        "oidc_client_secret": "0123456789",
        "oidc_roles": "groups:admins=admin, *=viewer",
        "oidc_name": "Example",
        "url": "https://hooks.example.com",
    }
    assert other.keys() == SETTINGS.keys()
    plain = dataclasses.asdict(loaded(tmp_path).serve())

    for name in other.keys() - {"url"}:  # a command's: see tests/cli/test_sender_commands.py
        pair: tuple[str, ...] = ("tls_cert", "tls_key") if name.startswith("tls") else (name,)
        if name.startswith("oidc"):
            # All but the one: without it, where it may be missing, the provider is another.
            pair = tuple(key for key in other if key.startswith(("oidc", "dashboard_public")))
            optional = {"oidc_client_secret", "oidc_name"}
            fewer = {key.upper(): other[key] for key in pair if key != name}
            if name not in optional:
                with pytest.raises(ConfigError, match="is not set"):
                    loaded(tmp_path, **fewer)
            else:
                assert (
                    loaded(tmp_path, **fewer).serve()
                    != loaded(tmp_path, **fewer, **{name.upper(): other[name]}).serve()
                )
        changed = dataclasses.asdict(loaded(tmp_path, **{key.upper(): other[key] for key in pair}).serve())

        assert changed != plain, name


SOURCES = """
max_body = "1 KiB"

[sources.production]
webhook_secrets_file = "production.txt"
allowed_ips = "workos"

[sources.staging]
path = "/from-staging"
max_body = 10
"""


def test_each_source_has_a_table_of_its_own(tmp_path: Path) -> None:
    """What it does not say is as for all of them; secrets and the path are its own alone."""
    (tmp_path / "production.txt").write_text("whsec_of_production\n", encoding="utf-8")

    sources = loaded(tmp_path, SOURCES, INBOX_RETENTION="20d").receiver().sources

    assert list(sources) == ["production", "staging"]
    production, staging = sources.values()
    assert (production.webhook_secrets, staging.webhook_secrets) == (("whsec_of_production",), None)
    assert (production.path, staging.path) == (None, "/from-staging")
    assert (production.allowed_ips, staging.allowed_ips) == (WORKOS_ADDRESSES.networks, None)
    assert (production.max_body_bytes, staging.max_body_bytes) == (1024, 10)
    assert production.bodies_s == staging.bodies_s == 20 * 86_400
    assert "whsec_of_production" not in repr(sources)


def test_a_sources_api_may_be_said_for_each_and_its_key_is_its_own(tmp_path: Path) -> None:
    """Where it is and how it is read may be said for all; each source is an environment with a key of its own."""
    settings = loaded(
        tmp_path,
        '[sources.one]\ntail = "only"\n[sources.two]\n',
        TAIL="on",
        WORKOS_BASE_URL="http://10.0.0.7:8080/",
        ALLOW_PRIVATE_TARGETS="true",
        SOURCES_ONE_WORKOS_API_KEY="sk_test_of_one_01234567",
    )
    one, two = settings.receiver().sources.values()
    assert (one.tail, two.tail) == ("only", "on")
    assert (one.api_key, two.api_key) == ("sk_test_of_one_01234567", None)
    assert one.api_url == two.api_url == "http://10.0.0.7:8080"
    assert one.api_over_http
    assert "sk_test_of_one" not in repr(one)
    with pytest.raises(ConfigError, match="is of one source, and there are several"):
        loaded(tmp_path, "[sources.one]\n", WORKOS_API_KEY="sk_test_of_all_01234567").receiver()


@pytest.mark.parametrize("period", ["59s", "0", "366d", "often"])
def test_a_period_is_a_minute_to_a_year(tmp_path: Path, period: str) -> None:
    """Less would be one pass after the other."""
    with pytest.raises(ConfigError, match=r"^HOOKLINE_RECONCILE_EVERY: expected a duration from 1m to 365d"):
        loaded(tmp_path, RECONCILE_EVERY=period)


def test_a_variable_of_a_source_beats_its_table(tmp_path: Path) -> None:
    """Secrets need not be in the file; what is no letter in a name is an underscore."""
    secret = tmp_path / "secret"
    secret.write_text("whsec_in_a_file", encoding="utf-8")
    settings = loaded(
        tmp_path,
        '[sources."acme.eu-1"]\nmax_body = 10\n[sources.other]\n',
        SOURCES_ACME_EU_1_WEBHOOK_SECRETS="whsec_a,whsec_b",
        SOURCES_ACME_EU_1_MAX_BODY="20",
        SOURCES_OTHER_WEBHOOK_SECRETS_FILE=str(secret),
    )

    acme, other = settings.receiver().sources.values()
    assert (acme.webhook_secrets, acme.max_body_bytes) == (("whsec_a", "whsec_b"), 20)
    assert other.webhook_secrets == ("whsec_in_a_file",)
    assert settings.sources["acme.eu-1"]["max_body"].origin == "HOOKLINE_SOURCES_ACME_EU_1_MAX_BODY"


@pytest.mark.parametrize(
    ("toml", "variables", "message"),
    [
        ("[sources.one]\nwebhook_secret = 'x'\n", {}, "webhook_secret: not a key of [sources.one] in hookline.toml"),
        ("[sources.one]\nport = 80\n", {}, "port: not a key of [sources.one] in hookline.toml"),
        ("[source.one]\n", {}, "source: not a key in hookline.toml that Hookline knows; the nearest is sources"),
        ("sources = 'one'\n", {}, "sources in hookline.toml: expected a table for each source"),
        ("[sources]\none = 1\n", {}, "sources in hookline.toml: expected a table for each source"),
        ("[sources.one]\nmax_body = 'much'\n", {}, "sources.one.max_body in hookline.toml: expected a size"),
        ("[sources.one]\npath = 'no slash'\n", {}, "sources.one.path in hookline.toml: expected a path"),
        ("[sources.a-b]\n[sources.a_b]\n", {}, "sources.a_b in hookline.toml: would have the same variables as a-b"),
        (
            "[sources.one]\n",
            {"SOURCES_ONE_WEBHOOK_SECRET": "x"},
            "HOOKLINE_SOURCES_ONE_WEBHOOK_SECRET: not a variable that Hookline knows; the nearest is HOOKLINE_SOURCES_",
        ),
        (
            "[sources.one]\nwebhook_secrets = 'a'\nwebhook_secrets_file = 'b'\n",
            {},
            "webhook_secrets: is set twice, by webhook_secrets and by sources.one.webhook_secrets_file in hookline",
        ),
    ],
)
def test_a_wrong_source_names_what_is_wrong(tmp_path: Path, toml: str, variables: dict[str, str], message: str) -> None:
    """With its place in the file, or the nearest name there is."""
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, toml, **variables)

    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("name", ["webhook_secrets", "path_token", "workos_api_key"])
def test_what_is_of_one_source_is_refused_beside_several(tmp_path: Path, name: str) -> None:
    """Whose it is would be anybody's guess; commands that receive nothing go on."""
    settings = loaded(tmp_path, "[sources.one]\n", **{name.upper(): "0123456789abcdef"})

    assert settings[name] is not None
    with pytest.raises(ConfigError, match=f"^HOOKLINE_{name.upper()}: is of one source"):
        settings.receiver()


def test_every_setting_of_a_source_reaches_it(tmp_path: Path) -> None:
    """None is read and then forgotten."""
    other = {
        "scheme": "standard_webhooks",
        "path": "/elsewhere",
        "webhook_secrets": "a",
        "path_token": "0123456789abcdef",
        "allowed_ips": "203.0.113.7",
        "allowed_ips_url": "https://hooks.example.com/list",
        "max_body": "1",
        "webhook_tolerance": "1",
        "redact": "invoice.*:card.number",
        "inbox_retention": "20d",
        "inbox_redacted_retention": "80d",
        "inbox_id_retention": "300d",
        "workos_api_key": "sk_test_0123456789abcdef",
        "workos_base_url": "https://api.example.com",
        "tail": "only",
        "tail_types": "invoice.paid",
        "reconcile_every": "6h",
    }
    assert other.keys() == SOURCE_SETTINGS.keys()
    plain = loaded(tmp_path, "[sources.one]\n").receiver().sources["one"]

    for name, text in other.items():
        changed = loaded(tmp_path, f"[sources.one]\n{name} = '{text}'\n").receiver().sources["one"]
        assert changed != plain, name
