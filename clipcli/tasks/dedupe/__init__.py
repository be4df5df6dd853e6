"""What is the same, what is nearly the same, and what only looks alike: numbers in, groups out.

    levels.py       exact, near, edited, similar, and the thresholds between them
    sketches.py     one picture → 32 × 32 grey values, by which candidates are found
    sketch_join.py  sketches → pairs worth a whole comparison
    join.py         all pairs of vectors above a cosine, block by block
    ivf.py          the join by way of cells of neighbours, for more rows than an exact one is worth
    pairs.py        the rows of a join, and candidate pairs of them in bounded memory
    sheets.py       one picture → grey values, colours, and where its content lies in plain borders
    motion.py       two pictures of one size → how the one must be moved to lie on the other
    alignment.py    two sheets → the part that both show
    difference.py   what differs there: spread over the picture, or in one place
    margins.py      what lies outside the shared part: a border, a crop, a caption
    likeness.py     two signatures → near, edited or other
    clusters.py     groups in which every member was verified against the one that is kept
    recompression.py  whether the pixels were those of a coarser JPEG file before
    detail.py       what a picture holds at full size, and what editing leaves in it
    originals.py    which of several copies is most likely the original
    keep.py         the rules that choose the file to keep

Nothing here opens a file or knows a model.
"""
