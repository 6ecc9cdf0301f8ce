from hookline.adapters.django import hooks

from .models import Account, Letter


@hooks.on_change("directory_user")
def sync_access(change, tx):
    Account.objects.using(tx).update_or_create(workos_id=change.id, defaults={"is_open": change.is_active})


@hooks.on("dsync.user.created")
def welcome(event, tx):
    Letter.objects.using(tx).create(address=event.data["email"])
