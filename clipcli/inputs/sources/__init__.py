"""Sources of images other than plain files: URLs, tar shards and tables.

    refs.py         `ImageRef`, one input; `ByteSource`, an object that reads its bytes; the suffixes of names
    filesystems.py  URL → file system of fsspec; time limits, retries, uploads, and errors without credentials
    fetch.py        whole objects, and open files that many threads read
    patterns.py     braces such as `{00000..00099}` and `*` → existing names; `--include` and `--exclude`
    tar.py          tar files in webdataset's form, read in place: images and their captions
    text_tables.py  CSV, TSV and JSON Lines with a column of paths or URLs, and functions for every kind of table
    parquet.py      Parquet files with a column of images or of their paths
    expand.py       an argument or a line of a list → image references; a path → its source

Nothing is unpacked or downloaded to disk. A reference holds only the location of its bytes, so it takes little memory
and can be sent to another process. Open files and blocks read ahead are shared by all threads of a process.
"""

from __future__ import annotations

from clipcli.inputs.sources.expand import TableColumns, expand, is_elsewhere, locate
from clipcli.inputs.sources.refs import IMAGE_SUFFIXES, NO_FIELDS, ByteSource, ImageRef, ListedPath

__all__ = [
    "IMAGE_SUFFIXES", "NO_FIELDS", "ByteSource", "ImageRef", "ListedPath", "TableColumns", "expand", "is_elsewhere",
    "locate",
]  # fmt: skip
