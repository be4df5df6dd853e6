"""Many rows at once: where a run answers millions of inputs, an object and a write for each take most of its time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipcli.output.rows import Row, Writer


class RowBlock(ABC):
    """Rows of the same columns and the same types, none of them an error."""

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """Return the names of the cells."""

    @abstractmethod
    def rows(self) -> Iterator[Row]:
        """Yield the rows one by one, for formats that have no other use for them."""

    @abstractmethod
    def json_texts(self) -> Sequence[str]:
        """Return each row's JSON object, as `dumps` writes it."""

    @abstractmethod
    def cell_columns(self) -> Sequence[Sequence[str]]:
        """Return the cells column by column."""


class BlockWriter:
    """Hands rows to a writer one by one, and blocks as blocks where it takes them."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._write = writer.write
        self._write_block = getattr(writer, "write_block", None)

    def write(self, row: Row | RowBlock) -> None:
        """Take a row, or many."""
        if not isinstance(row, RowBlock):
            self._write(row)
        elif self._write_block is not None:
            self._write_block(row)
        else:
            for each in row.rows():
                self._write(each)

    def close(self) -> None:
        """Finish the format."""
        self._writer.close()
