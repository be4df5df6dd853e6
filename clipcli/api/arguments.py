"""Arguments from Python code: pictures, texts and labels."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from clipcli.core.encoder import require_several
from clipcli.errors import ImageError, LabelsError, UsageError
from clipcli.inputs.collect import collect
from clipcli.inputs.sources.refs import ImageRef
from clipcli.inputs.text_files import tidy
from clipcli.prompts import Label, spoken

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    from PIL.Image import Image

    Picture: TypeAlias = "str | os.PathLike[str] | Image | npt.NDArray[Any]"
    """A file, folder, URL or pattern; a PIL image; or a uint8 array, (height, width) or (height, width, 1 to 4)."""
    Pictures: TypeAlias = "Picture | Iterable[Picture]"
    """One of them, or any iterable of them; an array of four dimensions is a list of arrays."""

_CHANNELS = (1, 2, 3, 4)
_BATCH = 4
"""Number of dimensions of an array of pictures."""
_QUICK = {"RGB", "L", "1"}
_IN_PNG = {"LA", "P", "RGBA", "I;16"}
_ORIENTATION = 0x0112
_LOADING = Lock()


@dataclass(frozen=True, eq=False)
class MemoryImage:
    """A picture in memory. It is encoded losslessly when a thread reads it, and then treated like a file."""

    picture: Any
    """A PIL image, or a uint8 array."""
    is_remote: ClassVar[bool] = False
    size: ClassVar[int | None] = None

    def read(self) -> bytes:
        """Return the picture as the bytes of a lossless file.

        Raises:
            ImageError: the picture was opened from a damaged file.
        """
        image = self.picture if _is_image(self.picture) else _from_array(self.picture)
        try:
            with _LOADING:  # the same image may occur twice in a list
                image.load()
        except (OSError, ValueError, SyntaxError, EOFError) as error:
            raise ImageError("decode", str(error)) from error
        stream, exif = io.BytesIO(), image.getexif()
        if image.mode in _QUICK and _ORIENTATION not in exif:
            image.save(stream, "PPM")
        elif image.mode in _QUICK | _IN_PNG:
            image.save(stream, "PNG", compress_level=1, exif=exif)
        else:
            image.save(stream, "TIFF", exif=exif)
        return stream.getvalue()


def is_one(pictures: object) -> bool:
    """Return whether the argument is one picture, not a list of pictures."""
    if isinstance(pictures, (str, os.PathLike)) or _is_image(pictures):
        return True
    return hasattr(pictures, "ndim") and getattr(pictures, "ndim", 0) != _BATCH


def references(pictures: Pictures, what: str = "images") -> Iterator[ImageRef]:
    """Yield references for one or many pictures as they come; folders and patterns are expanded.

    Raises:
        TypeError: an item is not a picture.
        InputsError: a folder or pattern without pictures.
    """
    items: Iterable[Any] = [pictures] if is_one(pictures) else pictures  # type: ignore[assignment]
    if not isinstance(items, Iterable):
        raise TypeError(f"{what}: {_KINDS}, or a list of them, not {type(pictures).__name__}")
    for number, picture in enumerate(items):
        yield from _references_of(picture, f"{what}[{number}]")


def listed(pictures: Pictures) -> list[ImageRef]:
    """Return the references as a list; a list of paths is expanded together.

    Raises:
        TypeError, InputsError: as `references`.
        UsageError: the list is empty.
    """
    if (
        isinstance(pictures, (list, tuple))
        and pictures
        and all(isinstance(picture, (str, os.PathLike)) for picture in pictures)
    ):
        return list(collect([_path(picture) for picture in pictures]))
    refs = list(references(pictures))
    if not refs:
        raise UsageError("no images given", hint="name files or folders, or give PIL images or arrays")
    return refs


def as_files(refs: Iterable[ImageRef], folder: Path) -> Iterator[ImageRef]:
    """Yield the references, with pictures in memory written to files in a folder, for code that reads files often."""
    for number, ref in enumerate(refs):
        if isinstance(ref.source, MemoryImage):
            path = folder / f"{number:09d}.image"
            path.write_bytes(ref.source.read())
            yield ImageRef(str(path), ref.name)
        else:
            yield ref


_KINDS = "a path, a PIL image or a uint8 array"


def _references_of(picture: Any, name: str) -> Iterator[ImageRef]:
    if isinstance(picture, (str, os.PathLike)):
        yield from collect([_path(picture)])
    elif _is_image(picture):
        yield ImageRef(name, name, source=MemoryImage(picture))
    elif hasattr(picture, "ndim") and hasattr(picture, "dtype"):
        _check_array(picture, name)
        yield ImageRef(name, name, source=MemoryImage(picture.copy()))  # a generator may reuse the array
    else:
        raise TypeError(f"{name}: {_KINDS}, not {type(picture).__name__}")


def _path(path: str | os.PathLike[str]) -> str:
    """Return a path as an argument of a command; `-` means a file of that name, since there is no stdin here."""
    text = os.fsdecode(path)
    return os.path.join(os.curdir, text) if text == "-" else text  # noqa: PTH118 - any bytes


def _is_image(picture: object) -> bool:
    return hasattr(picture, "getexif") and hasattr(picture, "mode")


def _check_array(array: Any, name: str) -> None:
    shape = tuple(array.shape)
    fits = len(shape) == 2 or (len(shape) == 3 and shape[2] in _CHANNELS)  # noqa: PLR2004 - height and width
    if array.dtype.name != "uint8" or not fits or 0 in shape:
        hint = "uint8, 0 to 255, (height, width) or (height, width, channels)"
        raise TypeError(f"{name}: {hint}; this one is {array.dtype} {shape}")


def _from_array(array: Any) -> Image:
    import numpy as np
    from PIL import Image

    pixels = np.asarray(array)
    return Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)  # noqa: PLR2004


def as_texts(texts: Iterable[str], what: str) -> list[str]:
    """Return texts as a list.

    Raises:
        TypeError: the argument is one string, or an item is not a string.
    """
    require_several(texts, what)
    text_list = list(texts)
    for text in text_list:
        if not isinstance(text, str):
            raise TypeError(f"{what}: texts, not {type(text).__name__}")
    return text_list


def as_names(prompts: str | Sequence[str] | None) -> list[str]:
    """Return names of template sets, files or templates as a list; a single one becomes a list of one."""
    if prompts is None:
        return []
    return [prompts] if isinstance(prompts, str) else as_texts(prompts, "prompts")


def as_labels(labels: Iterable[str] | Mapping[str, str | Sequence[str]]) -> tuple[Label, ...]:
    """Return labels as from a label file: names, or names with phrases.

    Raises:
        TypeError: the argument is one string.
        LabelsError: there is no label, or an empty one.
    """
    if isinstance(labels, Mapping):
        pairs = [(name, as_names(phrases)) for name, phrases in labels.items()]
    else:
        pairs = [(name, [spoken(tidy(name))]) for name in as_texts(labels, "labels")]
    labels_by_name = {
        tidy(name): Label(tidy(name), tuple(dict.fromkeys(map(tidy, phrases)))) for name, phrases in pairs
    }
    if not labels_by_name:
        raise LabelsError("no labels given", hint="labels=['cat', 'dog']")
    for label in labels_by_name.values():
        if not label.name or not label.phrases or not all(label.phrases):
            raise LabelsError(f"an empty label or phrase: {label.name!r}")
    return tuple(labels_by_name.values())
