"""Hookline in an app's framework, and on its own database access. Nothing is imported that the app has not."""
