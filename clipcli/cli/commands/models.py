"""`clipcli models list | info | pull | verify | export | bench`."""

from __future__ import annotations

from typing import Annotated

import typer

from clipcli.engines.registry import ENGINE_HELP, SOURCE_ENGINE
from clipcli.options.shared import TableOptions, TalkOptions

_ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="As --model takes it.", show_default=False)]
_CacheDir = Annotated[
    str | None, typer.Option("--cache-dir", metavar="DIR", help="Where weights are kept, instead of the hub's cache.")
]
_Offline = Annotated[bool, typer.Option("--offline", envvar="CLIPCLI_OFFLINE", help="Never use the network.")]


def list_models(
    out: TableOptions,
    pattern: Annotated[
        str,
        typer.Argument(metavar="[PATTERN]", help="Only models whose name or alias holds this.", show_default=False),
    ] = "",
    on_disk: Annotated[bool, typer.Option("--on-disk", help="Only models that are on this disk.")] = False,
    cache_dir: _CacheDir = None,
) -> None:
    """List models: size, vectors, published ImageNet accuracy, licence, and whether they are on this disk."""
    from clipcli.core.console import Console
    from clipcli.output import open_writer
    from clipcli.runs.models.run import listing

    rows = [row for row in listing(pattern, cache_dir) if row.on_disk or not on_disk]
    with open_writer(out.parse_table(), header=True) as writer:
        for row in rows:
            writer.write(row)
    if not rows:
        Console().line(f"no model {'on this disk ' if on_disk else ''}has {pattern!r} in its name or alias")


def info(model: _ModelArgument, out: TableOptions, offline: _Offline = False, cache_dir: _CacheDir = None) -> None:
    """Show what a model is: vectors, preprocessing, scoring head, licence; fetches no weights."""
    from clipcli.core.console import Console
    from clipcli.models.choice import Choice
    from clipcli.models.model import Model
    from clipcli.output import open_writer
    from clipcli.runs.models.run import facts

    found = facts(Model(Choice(model, offline=offline, weights_dir=cache_dir), Console()))
    with open_writer(out.parse_table()) as writer:
        for row in found:
            writer.write(row)


def pull(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="As --model takes them.", show_default=False)],
    talk: TalkOptions,
    no_export: Annotated[bool, typer.Option("--no-export", help="Only fetch; make no fast-starting copy.")] = False,
    offline: _Offline = False,
    cache_dir: _CacheDir = None,
) -> None:
    """Fetch models, check their hashes, and make the fast-starting copies, so that later runs need no network."""
    from clipcli.models.choice import Choice
    from clipcli.runs.models.run import pull as pull_model

    for name in models:
        pull_model(Choice(name, offline=offline, weights_dir=cache_dir), talk.talk(), export=not no_export)


def verify(
    model: _ModelArgument,
    out: TableOptions,
    talk: TalkOptions,
    images: Annotated[
        list[str] | None, typer.Option("--image", metavar="FILE", help="Compare on this image too.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--source", metavar="MODEL", help="What a bundle is compared with; by default what it names."),
    ] = None,
    cache_dir: _CacheDir = None,
) -> None:
    """Check a model on disk: hashes of its files, and a bundle's vectors against those of its source."""
    from clipcli.models.choice import Choice
    from clipcli.output import open_writer
    from clipcli.runs.models.run import verify as verify_model

    rows = verify_model(Choice(model, offline=True, weights_dir=cache_dir), images or [], source, talk.talk())
    with open_writer(out.parse_table()) as writer:
        for row in rows:
            writer.write(row)


def export(
    model: _ModelArgument,
    talk: TalkOptions,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="DIR", help="The bundle's folder; by default clipcli's own cache."),
    ] = None,
    precision: Annotated[
        str, typer.Option("--precision", metavar="P", help="Of the stored weights: fp32, or fp16 with -o.")
    ] = "fp32",
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="With -o: the bundle's own name, by default MODEL."),
    ] = None,
    offline: _Offline = False,
    cache_dir: _CacheDir = None,
) -> None:
    """Write a model as a bundle: a portable folder that runs without torch and starts in a fraction of a second."""
    from clipcli.models.choice import Choice
    from clipcli.runs.models.run import export as export_model

    choice = Choice(model, "cpu", "fp32", SOURCE_ENGINE, offline, cache_dir)
    export_model(choice, output, precision, name, talk.talk())


def bench(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="As --model takes them.", show_default=False)],
    out: TableOptions,
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="S", min=0.1, help="How long images, and texts, are embedded.")
    ] = 5.0,
    device: Annotated[str, typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    precision: Annotated[
        str, typer.Option("--precision", metavar="PRECISION", help="auto, fp32, fp16 or bf16.")
    ] = "auto",
    engine: Annotated[str, typer.Option("--engine", metavar="ENGINE", help=ENGINE_HELP)] = "auto",
    offline: _Offline = False,
    cache_dir: _CacheDir = None,
) -> None:
    """Measure models on this machine: start, images and texts a second, memory; each in a process of its own."""
    from clipcli.models.choice import parse_choice
    from clipcli.output import open_writer
    from clipcli.runs.models.bench import benchmark

    choices = [parse_choice(name, device, precision, engine, offline=offline, cache_dir=cache_dir) for name in models]
    with open_writer(out.parse_table()) as writer:
        for row in benchmark(choices, seconds):
            writer.write(row)


COMMANDS = {"list": list_models, "info": info, "pull": pull, "verify": verify, "export": export, "bench": bench}
