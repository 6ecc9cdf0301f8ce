"""The sending end: registry, publishing, signed deliveries, the APIs."""
