"""The examples as they run: of Node and Ruby too. `make examples` collects these, `make test` does not."""
