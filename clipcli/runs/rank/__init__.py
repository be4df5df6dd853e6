"""One run of `rank`: queries become vectors, images or vector files become a corpus, and the best are found.

validate.py       `plan`: options → a checked run
queries.py        options, files and stdin → queries → unit vectors
corpus.py         their names and vectors, block by block
finder.py         which rows count, and the search itself
index.py          an index on disk, searched
index_builder.py  vectors → an index: `clipcli index`
run.py            the run itself
rows.py           the rows
recall.py         which images each query should find, and the figures of a check
hits_page.py      the page of hits
kept_hits.py      thumbnails on the terminal, copies of hits and links to them
"""

from clipcli.runs.rank.run import RankRun as RankRun
from clipcli.runs.rank.validate import plan as plan
