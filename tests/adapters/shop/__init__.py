"""A Django project with one app of its own."""
