"""A Flask app made by a factory, on Flask-SQLAlchemy, with everything in it that stands before views.

As a process of its own it takes its database from `SHOP_DATABASE_URL`, and makes its tables while it is loaded.
"""

from __future__ import annotations

import os
from typing import Any

from flask import Flask, current_app, g, request
from flask.typing import ResponseReturnValue
from flask_login import LoginManager, UserMixin, current_user
from flask_sqlalchemy import SQLAlchemy
from flask_wtf.csrf import CSRFProtect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from hookline.adapters.flask import Hooks
from hookline.adapters.sqlalchemy import SessionTransactions

SECRET = "whsec_flask_shop_secret_1"


class Base(DeclarativeBase):
    """What the shop keeps."""


db = SQLAlchemy(model_class=Base)
hooks = Hooks(transactions=SessionTransactions(db.session.session_factory), url_prefix="/hooks")


class Letter(Base):
    """One for each event it was told of."""

    __tablename__ = "letters"
    id: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[str]
    app: Mapped[str]


@hooks.on("dsync.user.created", name="shop.letters")
def write(event: Any, tx: Any) -> None:
    """The handler of the tests."""
    tx.add(Letter(event_id=event.id, app=current_app.config["SHOP_NAME"]))


def create_app(database_url: str | None = None, *, sqlite_timeout_s: float = 0.2) -> Flask:
    """The shop, with a page that everybody may see, and one that is posted to."""
    app = Flask("shop")
    url = database_url or os.environ["SHOP_DATABASE_URL"]
    is_postgres = url.startswith("postgresql")
    app.config.update(
        SECRET_KEY="of the tests",
        SHOP_NAME="the shop",
        SQLALCHEMY_DATABASE_URI=url.replace("postgresql://", "postgresql+psycopg://"),
        SQLALCHEMY_ENGINE_OPTIONS={} if is_postgres else {"connect_args": {"timeout": sqlite_timeout_s}},
        HOOKLINE={"WEBHOOK_SECRETS": [SECRET]},
    )
    db.init_app(app)
    stand_before_views(app)
    hooks.init_app(app)

    @app.get("/")
    def page() -> str:
        return "open"

    @app.post("/orders")
    def order() -> str:
        return "ordered"

    return app


def stand_before_views(app: Flask) -> None:
    """CSRF tokens for all forms, a login for all pages but the first, and a clock for each request."""

    @app.before_request
    def start() -> None:
        g.is_timed = True

    CSRFProtect(app)
    login = LoginManager(app)

    @login.user_loader
    def load(user_id: str) -> UserMixin | None:
        return None

    @app.before_request
    def only_known_people() -> ResponseReturnValue | None:
        is_open = request.path == "/" or current_user.is_authenticated
        return None if is_open else login.unauthorized()

    @app.after_request
    def stop(response: Any) -> Any:
        assert g.is_timed
        return response


def create_served_app() -> Flask:
    """For gunicorn: the tables are there before it forks, and so is a connection in the pool."""
    app = create_app(sqlite_timeout_s=10)
    with app.app_context():
        db.create_all()
        hooks.receiver.migrate()
    return app
