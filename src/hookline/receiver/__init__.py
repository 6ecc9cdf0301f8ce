"""The receiving end: the door, the inbox, the worker, handlers, the mirror."""
