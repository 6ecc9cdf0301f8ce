"""Deliveries to a developer's own machine: a server end beside the sender, a client end behind `hookline listen`."""
