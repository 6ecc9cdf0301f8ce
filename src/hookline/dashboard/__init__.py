"""The dashboard: pages over both ends' queries, rendered on the server, for people who signed in."""
