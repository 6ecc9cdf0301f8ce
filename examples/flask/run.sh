#!/bin/sh
# The tables, a worker, and the site with the door in it, until Ctrl-C.
set -e
cd "$(dirname "$0")"
export FLASK_APP=shop
python -c "import shop; shop.app.app_context().push(); shop.db.create_all()"
python -m flask hookline migrate
python -m flask hookline worker &
trap 'kill $!' EXIT
python -m flask run --port "${PORT:-8080}"
