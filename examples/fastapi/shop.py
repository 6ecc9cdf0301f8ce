import os

from fastapi import FastAPI
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from hookline.adapters.fastapi import Hooks
from hookline.adapters.sqlalchemy import SessionTransactions

engine = create_engine("sqlite:///shop.db")
hooks = Hooks({"WEBHOOK_SECRETS": os.environ["WEBHOOK_SECRET"]}, transactions=SessionTransactions(sessionmaker(engine)))
app = FastAPI(lifespan=hooks.lifespan())
hooks.install(app, "/hooks")


class Base(DeclarativeBase):
    pass


class Account(Base):
    __tablename__ = "account"
    workos_id: Mapped[str] = mapped_column(primary_key=True)
    is_open: Mapped[bool]


class Letter(Base):
    __tablename__ = "letter"
    id: Mapped[int] = mapped_column(primary_key=True)
    address: Mapped[str]


@hooks.on_change("directory_user")
def sync_access(change, tx):
    tx.merge(Account(workos_id=change.id, is_open=change.is_active))


@hooks.on("dsync.user.created")
def welcome(event, tx):
    tx.add(Letter(address=event.data["email"]))
