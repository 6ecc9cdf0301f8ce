"""Django's side of the receiver's tables."""
