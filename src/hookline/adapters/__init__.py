"""Request in, receive(), response out: one thin adapter per kind of server."""
