"""The pytest plugin as users' tests see it: their test files run by a pytest of their own."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest

from hookline import testing
from hookline.testing import scenarios

from .conftest import RunTests

pytest_plugins = ["pytester"]

# A pytest within this one forgets the modules that it was the first to load.
for name in ("chaos", "clock", "inbox", "plugin", "signed", "story"):
    import_module(f"hookline.testing.{name}")


def test_an_unused_plugin_loads_nothing_of_hookline(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Part of every run of pytest where Hookline is installed, it costs its own file; left out, not even that."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile("""
        import sys

        def test_what_is_loaded(pytestconfig):
            found = {name for name in sys.modules if name.split(".")[0] in {"hookline", "msgspec"}}
            is_there = pytestconfig.pluginmanager.has_plugin("hookline.testing.plugin")
            assert found == ({"hookline", "hookline.testing", "hookline.testing.plugin"} if is_there else set())
            print("there" if is_there else "left out")
    """)
    for options, said in ((("-p", "hookline.testing.plugin"), "there"), ((), "left out")):
        run = pytester.runpytest_subprocess("-s", "-p", "no:hookline", *options)
        run.assert_outcomes(passed=1)
        run.stdout.fnmatch_lines([f"*{said}*"])


def test_every_public_name_is_where_it_is_said_to_be() -> None:
    """They are loaded when asked for; there is no other."""
    # A constant has no name to tell.
    assert all(getattr(getattr(testing, name), "__name__", name) == name for name in testing.__all__)
    assert testing.SCENARIOS is scenarios.SCENARIOS
    assert set(testing.__all__) <= set(dir(testing))
    with pytest.raises(AttributeError, match="no attribute 'inbx'"):
        testing.inbx  # noqa: B018


def test_fixtures_are_documented_and_take_part_only_when_asked(run_tests: RunTests) -> None:
    """`pytest --fixtures` says what each is for, and a suite that uses none runs with strict settings."""
    shown = run_tests("def test_nothing(): pass", "--fixtures", conftest="")
    run = run_tests("def test_nothing(): pass", "--strict-markers", "--strict-config", "-W", "error")

    ours = shown.stdout.str().partition("from hookline.testing.plugin -")[2].partition("fixtures defined from")[0]
    assert {line.split()[0] for line in ours.splitlines() if line.startswith("hookline_")} == {
        f"hookline_{name}"
        for name in ("chaos", "clock", "event", "inbox", "inline", "path", "receiver", "scheme", "secret", "signed")
    }
    assert "no docstring available" not in ours
    run.assert_outcomes(passed=1)


def test_what_a_user_would_write(run_tests: RunTests) -> None:
    """Deliver, drain, look; a duplicate has no effect; a test begins with an empty list of calls."""
    run_tests("""
        def test_a_user_is_welcomed_once(hookline_inbox, hookline_event, hookline_receiver):
            ada = hookline_event("dsync.user.created", first_name="Ada")
            hookline_inbox.deliver(ada, ada)
            assert hookline_receiver.welcomed == []
            hookline_inbox.drain()
            hookline_inbox.assert_handled(ada)
            hookline_inbox.assert_handled(ada, by="welcome")
            assert hookline_receiver.welcomed == ["Ada"]
            assert [call.handler for call in hookline_inbox.calls] == ["welcome", "sync"]

        def test_access_ends(hookline_inbox, hookline_event, hookline_receiver):
            ada = hookline_event("dsync.user.created")
            hookline_inbox.deliver(ada, hookline_event("dsync.user.updated", state="inactive"))
            hookline_inbox.drain()
            assert hookline_receiver.access == {ada.data["id"]: False}
    """).assert_outcomes(passed=2)


def test_requests_for_clients(run_tests: RunTests) -> None:
    """An ASGI app under a real client, by the words of httpx; the clock ends what was signed, in every kind of door."""
    run_tests("""
        import io
        import pytest
        from starlette.applications import Starlette
        from starlette.routing import Mount
        from starlette.testclient import TestClient

        @pytest.fixture
        def hookline_path():
            return "/hooks/webhooks"

        @pytest.fixture
        def client(hookline_receiver):
            # Built before anybody turns its clock, as the module of an app does.
            return TestClient(Starlette(routes=[Mount("/hooks", hookline_receiver.asgi())]))

        def test_asgi(client, hookline_signed, hookline_event, hookline_clock):
            request = hookline_signed(hookline_event("dsync.user.created"))
            assert client.post(**request.httpx).status_code == 200
            hookline_clock.advance(181_000)
            answer = client.post(**request.httpx)
            assert (answer.status_code, answer.text) == (401, "expired\\n")
            assert client.post(**hookline_signed(b"[]").httpx).status_code == 200
            assert client.post(**hookline_signed(b"[]", secret="whsec_2").httpx).status_code == 401
            assert client.post(**hookline_signed(b"[]", path="/hooks/elsewhere").httpx).status_code == 404

        def test_wsgi(hookline_receiver, hookline_signed, hookline_event, hookline_clock):
            answered = []
            request = hookline_signed(hookline_event("dsync.user.created"), path="/webhooks")
            environ = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in request.headers.items()}
            environ |= {"REQUEST_METHOD": request.method, "PATH_INFO": request.path}
            environ["CONTENT_LENGTH"] = str(len(request.body))
            for ms in (0, 181_000):
                hookline_clock.advance(ms)
                hookline_receiver.wsgi()(
                    environ | {"wsgi.input": io.BytesIO(request.body)}, lambda status, headers: answered.append(status)
                )
            assert answered == ["200 OK", "401 Unauthorized"]

        def test_plainly(hookline_receiver, hookline_signed, hookline_event):
            request = hookline_signed(hookline_event("dsync.user.created"), path="/webhooks")
            assert hookline_receiver.receive(
                request.method, request.path, request.headers, request.body, "127.0.0.1"
            )[0] == 200
            assert "whsec_1" not in repr(hookline_signed)
    """).assert_outcomes(passed=3)


def test_a_flask_app(run_tests: RunTests) -> None:
    """The receiver of its extension, whose handlers run in the app's context; by Flask's own client."""
    run_tests(
        """
        import flask
        import pytest
        from hookline.adapters.flask import Hooks

        hooks = Hooks(url_prefix="/hooks")

        @hooks.on("dsync.user.created")
        def welcome(event, tx):
            flask.current_app.config["WELCOMED"].append(event.data["first_name"])

        @pytest.fixture
        def app(tmp_path):
            app = flask.Flask("shop")
            app.config["WELCOMED"] = []
            url = f"sqlite:///{tmp_path / 'app.db'}"
            app.config["HOOKLINE"] = {"WEBHOOK_SECRETS": ["whsec_of_the_tests"], "DATABASE_URL": url}
            hooks.init_app(app)
            yield app
            app.extensions["hookline"].close()

        @pytest.fixture
        def hookline_receiver(app):
            return app.extensions["hookline"]

        @pytest.fixture
        def hookline_path():
            return "/hooks/webhooks"

        def test_it(app, hookline_inline, hookline_signed, hookline_event):
            ada = hookline_event("dsync.user.created", first_name="Ada")
            assert app.test_client().post(**hookline_signed(ada).flask).status_code == 200
            hookline_inline.assert_handled(ada, by=welcome)
            assert app.config["WELCOMED"] == ["Ada"]
        """,
        conftest="",
    ).assert_outcomes(passed=1)


def test_a_fastapi_app(run_tests: RunTests) -> None:
    """Its lifespan would run a worker beside it; while the test has the inbox, nothing happens but by that."""
    run_tests(
        """
        import threading
        import pytest
        from fastapi import FastAPI
        from fastapi.testclient import TestClient
        from hookline.adapters.fastapi import Hooks

        @pytest.fixture
        def hooks(tmp_path):
            url = f"sqlite:///{tmp_path / 'app.db'}"
            return Hooks({"WEBHOOK_SECRETS": ["whsec_of_the_tests"], "DATABASE_URL": url})

        @pytest.fixture
        def hookline_receiver(hooks):
            return hooks

        @pytest.fixture
        def hookline_path():
            return "/hooks/webhooks"

        @pytest.fixture
        def app(hooks):
            app = FastAPI(lifespan=hooks.lifespan())
            hooks.install(app, "/hooks")
            return app

        def test_it(app, hooks, hookline_inbox, hookline_signed, hookline_event):
            welcomed = []

            @hooks.on("dsync.user.created")
            def welcome(event, tx):
                welcomed.append((event.data["first_name"], threading.current_thread()))

            ada = hookline_event("dsync.user.created", first_name="Ada")
            with TestClient(app) as client:
                assert client.post(**hookline_signed(ada).httpx).status_code == 200
                assert welcomed == []
                hookline_inbox.drain()
                assert welcomed == [("Ada", threading.main_thread())]
                with hookline_inbox.inline():
                    client.post(**hookline_signed(hookline_event("dsync.user.created", id="directory_user_2")).httpx)
                assert len(welcomed) == 2
            hookline_inbox.assert_handled(ada)

        def test_afterwards_its_worker_is_its_own(app, hooks):
            with TestClient(app):
                assert any(one.name == "hookline-worker" for one in threading.enumerate())
                assert hooks.run_worker.__func__ is Hooks.run_worker
        """,
        conftest="",
    ).assert_outcomes(passed=2)


def test_handlers_in_the_request(run_tests: RunTests) -> None:
    """With `hookline_inline` they have run when the request is answered, also in an app that opens and closes the
    receiver; what they raise comes out of it. Without it nothing has run.
    """
    run_tests("""
        import pytest
        from starlette.testclient import TestClient

        def test_in_the_request(hookline_inline, hookline_receiver, hookline_signed, hookline_event):
            for name in ("Ada", "Grace"):
                with TestClient(hookline_receiver.asgi()) as client:  # closed at the end
                    event = hookline_event("dsync.user.created", id=name, first_name=name)
                    assert client.post(**hookline_signed(event).httpx).status_code == 200
                    hookline_inline.assert_handled(event)
            assert hookline_receiver.welcomed == ["Ada", "Grace"]
            assert hookline_receiver.access == {"Ada": True, "Grace": True}

        def test_plainly(hookline_inline, hookline_receiver, hookline_event):
            hookline_inline.deliver(hookline_event("dsync.user.created"))
            assert hookline_receiver.welcomed == ["Ada"]

        @pytest.mark.usefixtures("hookline_inline")
        def test_a_failure(hookline_inbox, hookline_receiver, hookline_signed, hookline_event):
            event = hookline_event("dsync.user.created", first_name="Nobody")
            with pytest.raises(ValueError, match="nobody to welcome"):
                TestClient(hookline_receiver.asgi()).post(**hookline_signed(event).httpx)
            hookline_inbox.assert_waiting(event, by="welcome")
            hookline_inbox.assert_handled(event, by="sync")

        def test_a_handler_that_posts(hookline_inline, hookline_receiver, hookline_event):
            @hookline_receiver.on("dsync.group.created")
            def found(event, tx):
                hookline_inline.drain()  # as a post to the app's own door would
                hookline_receiver.welcomed.append("a group")
            hookline_inline.deliver(hookline_event("dsync.group.created"))
            assert hookline_receiver.welcomed == ["a group"]

        def test_not_in_it(hookline_inbox, hookline_receiver, hookline_signed, hookline_event):
            TestClient(hookline_receiver.asgi()).post(**hookline_signed(hookline_event("dsync.user.created")).httpx)
            assert hookline_receiver.welcomed == []
    """).assert_outcomes(passed=5)


def test_afterwards_the_receiver_is_as_it_was(run_tests: RunTests) -> None:
    """Clock, handlers and the ways in: a receiver that outlives the test is not changed by it."""
    run_tests(
        """
        def test_one(hookline_inline, hookline_event, hookline_clock, hookline_receiver):
            assert hookline_receiver.clock is hookline_clock
            hookline_inline.deliver(hookline_event("dsync.user.created"))
            hookline_inline.assert_handled(hookline_inline.calls[0].what)

        def test_two(hookline_receiver):
            assert type(hookline_receiver.clock).__name__ == "SystemClock"
            assert type(hookline_receiver.handlers).__name__ == "Registry"
            assert type(hookline_receiver.opened.intake.put_inline.__self__).__name__ == "GroupCommit"
            assert "open" not in vars(hookline_receiver)
        """,
        conftest="""
        import pytest
        from hookline import Receiver

        @pytest.fixture(scope="session")
        def hookline_receiver(tmp_path_factory):
            with Receiver(f"sqlite:///{tmp_path_factory.mktemp('app') / 'app.db'}", secrets=["whsec_1"]) as hooks:
                hooks.on("dsync.user.created")(lambda event, tx: None)
                yield hooks
        """,
    ).assert_outcomes(passed=2)


@pytest.mark.parametrize("how", ["pytest's configuration", "HOOKLINE_APP"])
def test_the_receiver_can_be_named(run_tests: RunTests, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """As the command names it; what it names must be one."""
    source = """
        from hookline import Receiver

        hooks = Receiver("sqlite:///app.db", secrets=["whsec_named"])

        def test_it(hookline_receiver, hookline_signed):
            assert hookline_receiver is hooks
            assert hookline_signed.secret == "whsec_named"
    """
    module = f"{test_the_receiver_can_be_named.__name__}"
    options = ["-o", f"hookline_app={module}:hooks"] if how != "HOOKLINE_APP" else []
    monkeypatch.setenv("HOOKLINE_APP", f"{module}:hooks" if how == "HOOKLINE_APP" else "")

    run_tests(source, *options, conftest="").assert_outcomes(passed=1)
    wrong = run_tests(source, "-o", f"hookline_app={module}:Receiver", conftest="")
    wrong.assert_outcomes(errors=1)
    wrong.stdout.fnmatch_lines([f"expected a hookline.Receiver at {module}:Receiver, got type"])


def test_a_receiver_that_nobody_names(run_tests: RunTests, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said what to do; and what needs no receiver works without."""
    monkeypatch.delenv("HOOKLINE_APP", raising=False)
    monkeypatch.delitem(sys.modules, "hookline.adapters.django.apps", raising=False)
    run = run_tests(
        """
        import pytest

        def test_events_alone(hookline_event, hookline_clock):
            assert hookline_event("dsync.user.created").created_us == hookline_clock.now_ms() * 1_000

        class TestADoorOfOnesOwn:
            @pytest.fixture
            def hookline_secret(self): return "whsec_1"

            @pytest.fixture
            def hookline_path(self): return "/in"

            def test_it(self, hookline_signed, hookline_event, hookline_clock):
                from hookline import verify
                request = hookline_signed(hookline_event("dsync.user.created"))
                header = request.headers["WorkOS-Signature"]
                verify(request.body, header, secrets=["whsec_1"], now_ms=hookline_clock.now_ms())
                assert request.path == "/in"

        def test_an_inbox(hookline_inbox): pass
        """,
        conftest="",
    )

    run.assert_outcomes(passed=2, errors=1)
    run.stdout.fnmatch_lines(["expected to know which Receiver to test: write a fixture hookline_receiver*"])


def test_a_receiver_without_a_secret(run_tests: RunTests) -> None:
    """Nothing can be signed for it: said so, and not answered 503."""
    run = run_tests(
        "def test_it(hookline_signed): pass",
        conftest="""
        import pytest
        from hookline import Receiver

        @pytest.fixture
        def hookline_receiver():
            return Receiver("sqlite:///app.db")
        """,
    )

    run.assert_outcomes(errors=1)
    run.stdout.fnmatch_lines(["*ConfigError: secrets: expected the receiver to have a signing secret in tests*"])
