"""What is the same, what is nearly the same, and what only looks alike: numbers in, groups out.

    levels.py       exact, near, edited, similar, and the thresholds that part them, by model
    sources.py      rows that a join multiplies: unit vectors, or the bits of perceptual hashes
    collapse.py     identical vectors become one row, so that a million copies cost no more than one
    join.py         all pairs above a cosine, block by block, never N × N
    cells.py        rows parted into cells of neighbours
    approximate.py  the join by way of cells, for more rows than an exact one is worth
    recall.py       how much of the true pairs that finds, measured on a sample
    neighbours.py   who may match whom; says the whole truth for crowded rows
    sheets.py       one picture → grey values, colours, and where its content lies in plain borders
    aligning.py     two sheets → the stretch that both show, laid on each other
    differing.py    what is left of the one when the other is taken away: everywhere, or in one place
    margins.py      what lies outside the shared part: a border, a crop, a caption
    likeness.py     two signatures → near, edited or other
    grouping.py     groups in which every member was verified against the one that is kept
    detail.py       which of several copies is real: not the enlarged, sharpened or bordered one
    keep.py         the rules that choose it

Nothing here opens a file or knows a model.
"""
