"""Hookline: sync data with webhooks, both ends of the line."""

__version__ = "0.1.0.dev0"
