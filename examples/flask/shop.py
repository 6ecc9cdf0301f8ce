import os
from pathlib import Path

from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from hookline.adapters.flask import Hooks
from hookline.adapters.sqlalchemy import SessionTransactions

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{Path('shop.db').absolute()}"
app.config["HOOKLINE"] = {"WEBHOOK_SECRETS": os.environ["WEBHOOK_SECRET"]}
db = SQLAlchemy(app)
hooks = Hooks(app, transactions=SessionTransactions(db.session.session_factory), url_prefix="/hooks")


class Account(db.Model):
    workos_id = db.Column(db.String, primary_key=True)
    is_open = db.Column(db.Boolean, nullable=False)


class Letter(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    address = db.Column(db.String, nullable=False)


@hooks.on_change("directory_user")
def sync_access(change, tx):
    tx.merge(Account(workos_id=change.id, is_open=change.is_active))


@hooks.on("dsync.user.created")
def welcome(event, tx):
    tx.add(Letter(address=event.data["email"]))
