"""Where an image can be besides a file of its own, and how its bytes are had.

    refs.py       `ImageRef`, one input; `ByteSource`, what can be read
    suffixes.py   what is taken for an image, a tar shard or a table
    skipped.py    recycle bins, thumbnail caches and other folders that a search passes over
    globs.py      `--include` and `--exclude`
    places.py     URLs: which file system of fsspec, its time limits, and listing
    fetching.py   whole objects and files that many threads read, tried again after passing faults
    streams.py    such a file from its beginning to its end: archives, and lists
    faults.py     what drivers raise → words for the user, in which no credential stands
    braces.py     `{00000..00099}` → names
    patterns.py   braces and `*` → names of what is there
    shards.py     tar files of webdataset's form, read in place
    text_tables.py  CSV, TSV and JSON Lines with a column of paths or URLs, and what every table has in common
    tables.py     Parquet files with a column of images or of their paths
    finding.py    an argument or a line of a list → image references; a path → its source

Nothing is unpacked or downloaded to disk. A reference says only where its bytes are, so that it can be sent to another
process and costs no memory; what is kept open and read ahead is shared by all threads of a process.
"""

from __future__ import annotations

from clipcli.inputs.sources.expand import TableColumns, expand, is_elsewhere, locate
from clipcli.inputs.sources.refs import NO_FIELDS, ByteSource, ImageRef, ListedPath
from clipcli.inputs.sources.suffixes import IMAGE_SUFFIXES

__all__ = [
    "IMAGE_SUFFIXES", "NO_FIELDS", "ByteSource", "ImageRef", "ListedPath", "TableColumns", "expand", "is_elsewhere",
    "locate",
]  # fmt: skip
