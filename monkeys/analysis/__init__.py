"""The science on files, without a run of one's own: what `monkeys coverage`, `fit`, `predict`, `compare`, `cost` and
`select` do.

    result     what a command found: tables and curves for people, plain data for machines
    growth     coverage, its laws, predictions and paired differences
    spending   FLOPs, money, the cheapest model for a wanted coverage
    choosing   rules of selection on patches and answers
    picture    curves as .svg, .png and .html

Each command is a function from records of `monkeys.counts` to a `Result`; reading arguments is `monkeys.science_cli`'s.
"""
