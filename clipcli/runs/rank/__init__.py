"""One run of `rank`: queries become vectors, images or vector files become a corpus, and the best are found.

sources.py    arguments → images, vector files, an index
corpus.py     their vectors, block by block, with their names
mapped.py     vectors where they lie in a file
asking.py     options and files → queries → unit vectors
accelerating.py when a search is worth a GPU
finding.py    which rows count, and the search itself
results.py    what was found
table.py      the table of what each query should find
expected.py   which images each query should find, and the figures of a check
mixtures.py   options that do not go together
job.py        the run itself
keeping.py    copies and links of what was found
page.py       the report
preview.py    thumbnails on the terminal
"""

from clipcli.runs.rank.run import RankRun as RankRun
from clipcli.runs.rank.run import plan as plan
