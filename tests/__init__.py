"""The tests, a package beside the source.

Hookline is an installed plugin of pytest's, which therefore would rewrite the asserts in all its modules. Two threads
that import at once break each other there (CPython 3.11, "AST constructor recursion depth mismatch": `ast.parse` counts
its depth per interpreter), and it takes longer. So only the asserts of tests are rewritten.
"""

from __future__ import annotations

import sys

from _pytest.assertion.rewrite import AssertionRewritingHook

for _finder in sys.meta_path:
    if isinstance(_finder, AssertionRewritingHook):
        _finder._must_rewrite.discard("hookline")
