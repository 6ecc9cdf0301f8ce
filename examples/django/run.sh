#!/bin/sh
# The tables, a worker, and the site with the door in it, until Ctrl-C.
set -e
cd "$(dirname "$0")"
python manage.py migrate --run-syncdb --verbosity 0
python manage.py hookline worker &
trap 'kill $!' EXIT
python manage.py runserver --noreload "${PORT:-8080}"
