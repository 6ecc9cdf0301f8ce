"""The large sizes: the models and harnesses of the tests, run for minutes instead of seconds.

`make soak` runs them; what it prints is kept under docs/proof with the command. The tests run the same code small. A
run that finds anything wrong exits 1.
"""
