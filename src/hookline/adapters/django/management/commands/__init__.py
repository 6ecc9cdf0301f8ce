"""Hookline's command in `manage.py`."""
