"""A model of the receiving end: a source of truth that changes at random, a wire that misbehaves, and the mirror's end
state compared with the truth.

`source` makes histories from a seed; `wire` draws what arrives of one, in which order, and the passes of reads that
follow; `judged` puts that through the pure rules, `floors` so with floors that are written and not asked for at
reading, and `stored` through the real tables; `naive` holds the rules others use, to be measured on the same histories.
`soup` and `races` ask of other events whether what handlers were told is what is shown. Tests run it small,
`python -m soak` large.
"""
