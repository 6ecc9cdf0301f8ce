import os

SECRET_KEY = os.environ.get("SECRET_KEY", "good enough for an example")
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.db"}}
INSTALLED_APPS = ["hookline.adapters.django", "shop"]
ROOT_URLCONF = "shop.urls"
HOOKLINE = {"WEBHOOK_SECRETS": os.environ["WEBHOOK_SECRET"]}
