#!/bin/sh
# The tables, and the app with the door before it and a worker beside it, until Ctrl-C.
set -e
cd "$(dirname "$0")"
python -c "import shop; shop.Base.metadata.create_all(shop.engine); shop.hooks.migrate()"
python -m uvicorn shop:app --port "${PORT:-8080}"
