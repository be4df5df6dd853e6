"""The Python interface, built on the code of the commands: functions that open a session, use it and close it.

`import clipcli` offers all of it, loaded on first use. For several calls, `open_session` keeps the model loaded.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from clipcli.api.arguments import Picture, Pictures
    from clipcli.api.clip_session import ClipSession
    from clipcli.api.results import Classification, DuplicateImage, Embeddings, RankedImage, Results
    from clipcli.core.console import Console
    from clipcli.core.vectors import Vectors
    from clipcli.models.spec import Choice


def classify(
    images: Pictures,
    labels: Sequence[str] | Mapping[str, Sequence[str]],
    *,
    prompts: str | Sequence[str] | None = None,
    top_k: int = 1,
    threshold: float | None = None,
    multi_label: bool = False,
    none: str | None = None,
    model: str = "",
    device: str = "auto",
    offline: bool = False,
    cache: bool = True,
) -> Results[Classification]:
    """Return the best label for each image, as `clipcli classify` does.

    Args:
        images: a path, folder, URL, PIL image or uint8 array, or a list of them.
        labels: a list of names, or a dict from name to phrases.
        prompts: a set of templates, a file, or templates with `{}`; a list joins several. The default is `photo`.
        top_k: number of labels in `labels` of each result; 0 is all.
        threshold: the score below which an image gets no label.
        multi_label: score each label on its own, and return all that reach the threshold (0.5).
        none: the answer if no label fits.
        model: as `--model`; the default is that of the commands.
        device: auto, cpu, cuda, cuda:N or mps.
        offline: never use the network.
        cache: use and keep vectors of earlier runs.

    Returns:
        One `Classification` per image, in order. For an image that cannot be used, `error` is set.

    Raises:
        ClipcliError: there are no images, no such model, or invalid labels or prompts.
        TypeError: an argument has the wrong type, such as one string for `labels`.
    """
    with open_session(model, device=device, offline=offline, cache=cache) as session:
        return session.classify(
            images, labels, prompts=prompts, top_k=top_k, threshold=threshold, multi_label=multi_label, none=none
        )


def embed(
    images: Pictures | None = None,
    *,
    texts: Sequence[str] | None = None,
    prompts: str | Sequence[str] | None = None,
    model: str = "",
    device: str = "auto",
    offline: bool = False,
    cache: bool = True,
) -> Embeddings:
    """Embed images or texts as unit vectors, as `clipcli embed` does.

    Args:
        images: a path, folder, URL, PIL image or uint8 array, or a list of them.
        texts: a list of texts, in place of images.
        prompts: templates for each text; their vectors are averaged.
        model: as `--model`; the default is that of the commands.
        device: auto, cpu, cuda, cuda:N or mps.
        offline: never use the network.
        cache: use and keep vectors of earlier runs.

    Returns:
        `names`, and `vectors`: (n, dim) float32 of unit length, one row per name. Images that cannot be used are in
        `errors`.

    Raises:
        ClipcliError: there are no images, or no such model.
        TypeError: both or neither of images and texts are given, or one string for `texts`.
    """
    with open_session(model, device=device, offline=offline, cache=cache) as session:
        return session.embed(images, texts=texts, prompts=prompts)


def rank(
    query: Picture | Sequence[Picture],
    images: Pictures | Embeddings | Vectors,
    *,
    top_k: int | None = 10,
    min_score: float | None = None,
    prompts: str | Sequence[str] | None = None,
    model: str = "",
    device: str = "auto",
    offline: bool = False,
    cache: bool = True,
) -> Results[RankedImage]:
    """Find the images that match words or resemble an image, best first, as `clipcli rank` does.

    Args:
        query: words, or a sum such as `"./photo.jpg - a dog + a cat"`; a Path, PIL image or uint8 array; or a list of
            queries, each ranked on its own.
        images: a path, folder, URL, PIL image or uint8 array, or a list of them; or vectors: the result of `embed`, a
            file of vectors, or a float array (n, dim).
        top_k: most hits per query; None is all.
        min_score: the lowest cosine of a hit, -1 to 1.
        prompts: templates for the words; their vectors are averaged.
        model: as `--model`; the default is that of the commands.
        device: auto, cpu, cuda, cuda:N or mps.
        offline: never use the network.
        cache: use and keep vectors of earlier runs.

    Returns:
        The hits, query by query. Images that cannot be used are in `errors`.

    Raises:
        ClipcliError: there are no images, no such model, or vectors of another model.
        TypeError: an argument has the wrong type.
    """
    with open_session(model, device=device, offline=offline, cache=cache) as session:
        return session.rank(query, images, top_k=top_k, min_score=min_score, prompts=prompts)


def dedupe(
    images: Pictures,
    *,
    level: str = "similar",
    min_similarity: float | None = None,
    rotations: bool = False,
    keep: str | None = None,
    model: str = "",
    device: str = "auto",
    offline: bool = False,
    cache: bool = True,
) -> Results[DuplicateImage]:
    """Find exact, near, edited and similar duplicates, as `clipcli dedupe` does. Nothing is removed.

    Args:
        images: a path, folder, URL, PIL image or uint8 array, or a list of them.
        level: the loosest level to find: exact, near, edited or similar.
        min_similarity: the smallest cosine of similar images; the default depends on the model.
        rotations: also find rotated and mirrored pictures.
        keep: rules for the image to keep, as `--keep`.
        model: as `--model`; the default is that of the commands.
        device: auto, cpu, cuda, cuda:N or mps.
        offline: never use the network.
        cache: use and keep vectors of earlier runs.

    Returns:
        The images with a duplicate, group by group, the one to keep first. Unusable images are in `errors`.

    Raises:
        ClipcliError: there are no images, no such model, or no such level.
        TypeError: an argument has the wrong type.
    """
    with open_session(model, device=device, offline=offline, cache=cache) as session:
        return session.dedupe(images, level=level, min_similarity=min_similarity, rotations=rotations, keep=keep)


@contextmanager
def open_session(
    model: str = "",
    *,
    device: str = "auto",
    precision: str = "auto",
    engine: str = "auto",
    batch_size: int | None = None,
    workers: int | None = None,
    offline: bool = False,
    cache: bool = True,
) -> Iterator[ClipSession]:
    """Keep a model open for several calls: `with clipcli.open_session("tiny") as session: …`.

    The session has the methods `classify`, `embed`, `rank` and `dedupe`, with the arguments of the functions. Its
    methods `iter_classify` and `iter_embed` accept a generator, yield results one by one, and need little memory.

    Args:
        model: as `--model`; the default is that of the commands.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto, fp32, fp16 or bf16.
        engine: auto, onnx or openclip.
        batch_size: images per batch; the default depends on the device.
        workers: threads that read and decode; the default is one per core.
        offline: never use the network.
        cache: use and keep vectors of earlier runs.

    Yields:
        A `ClipSession`, with `model`, `fingerprint` and `dim` of the model.

    Raises:
        ClipcliError: there is no such model, device, precision or engine.
    """
    from clipcli.api.clip_session import ClipSession, LogConsole
    from clipcli.session import session as sessions
    from clipcli.session.prepare import SessionOptions

    options = SessionOptions(batch_size=batch_size, workers=workers, use_cache=cache)
    choice = _choice(console := LogConsole(), model, device, precision, engine, offline=offline)
    with sessions.open_session(choice, console, options) as opened:
        yield ClipSession(opened)


def _choice(console: Console, model: str, device: str, precision: str, engine: str, *, offline: bool) -> Choice:
    """Return the model of the arguments, or the default one of the commands."""
    from clipcli.models.spec import parse_choice

    name = model or os.environ.get("CLIPCLI_MODEL", "")
    choice = parse_choice(name, device, precision, engine, offline=offline, weights_dir=None)
    if choice.is_substitute:
        console.warning("the model is tiny, since torch is not installed (model='tiny' turns this note off)")
    return choice
