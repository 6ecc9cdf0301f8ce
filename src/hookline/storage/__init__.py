"""How a database is reached; knows no table of ours."""
