"""`clipcli models list | info | pull | verify | export | bench`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from clipcli.engines.registry import SOURCE_ENGINE
from clipcli.options.option_types import (
    CacheDirOption,
    DeviceOption,
    EngineOption,
    OfflineOption,
    PrecisionOption,
    WeightsDirOption,
)
from clipcli.options.shared import TableOptions, VerbosityOptions

_ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="A model, as for --model.", show_default=False)]
_ModelsArgument = Annotated[
    list[str], typer.Argument(metavar="MODEL...", help="Models, as for --model.", show_default=False)
]


@dataclass(frozen=True)
class StoreOptions:
    """Folders."""

    weights_dir: WeightsDirOption = None
    cache_dir: CacheDirOption = None


@dataclass(frozen=True)
class HubOptions(StoreOptions):
    """Network and folders."""

    offline: OfflineOption = False


def list_models(
    out: TableOptions,
    folders: StoreOptions,
    pattern: Annotated[
        str,
        typer.Argument(
            metavar="[PATTERN]", help="List only models whose name or alias contains this.", show_default=False
        ),
    ] = "",
    on_disk: Annotated[bool, typer.Option("--on-disk", help="List only models that are on this disk.")] = False,
) -> None:
    """List models with size, vector length, published ImageNet accuracy, licence, and whether they are on disk."""
    from clipcli.core.console import Console
    from clipcli.output import open_writer
    from clipcli.runs.models.run import listing

    rows = [row for row in listing(pattern, folders.weights_dir) if row.on_disk or not on_disk]
    with open_writer(out.parse_table(), header=True) as writer:
        for row in rows:
            writer.write(row)
    if not rows:
        Console().line(f"no model {'on this disk ' if on_disk else ''}has {pattern!r} in its name or alias")


def info(model: _ModelArgument, out: TableOptions, hub: HubOptions) -> None:
    """Show a model's vector length, preprocessing, scoring head and licence, without downloading its weights."""
    from clipcli.core.console import Console
    from clipcli.models.model import Model
    from clipcli.models.spec import Choice
    from clipcli.output import open_writer
    from clipcli.runs.models.run import facts

    rows = facts(Model(Choice(model, offline=hub.offline, weights_dir=hub.weights_dir), Console()))
    with open_writer(out.parse_table()) as writer:
        for row in rows:
            writer.write(row)


def pull(
    models: _ModelsArgument,
    verbosity: VerbosityOptions,
    hub: HubOptions,
    no_export: Annotated[bool, typer.Option("--no-export", help="Make no fast-starting copy.")] = False,
) -> None:
    """Download models, check their hashes and make fast-starting copies, so that later runs need no network."""
    from clipcli.models.spec import Choice
    from clipcli.runs.models.run import pull as pull_model

    for name in models:
        choice = Choice(name, offline=hub.offline, weights_dir=hub.weights_dir)
        pull_model(choice, verbosity.console(), export=not no_export)


def verify(
    model: _ModelArgument,
    out: TableOptions,
    verbosity: VerbosityOptions,
    folders: StoreOptions,
    images: Annotated[
        list[str] | None, typer.Option("--image", metavar="FILE", help="Also compare on this image. Repeatable.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--source", metavar="MODEL", help="Model to compare a bundle with.", show_default="the one it names"
        ),
    ] = None,
) -> None:
    """Check the hashes of a model's files on disk, and compare a bundle's vectors with those of its source."""
    from clipcli.models.spec import Choice
    from clipcli.output import open_writer
    from clipcli.runs.models.run import verify as verify_model

    rows = verify_model(
        Choice(model, offline=True, weights_dir=folders.weights_dir), images or [], source, verbosity.console()
    )
    with open_writer(out.parse_table()) as writer:
        for row in rows:
            writer.write(row)


def export(
    model: _ModelArgument,
    verbosity: VerbosityOptions,
    hub: HubOptions,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Folder of the bundle.", show_default="in clipcli's own cache"
        ),
    ] = None,
    dtype: Annotated[
        str, typer.Option("--dtype", metavar="TYPE", help="Number type of the weights: float32, or float16 with -o.")
    ] = "float32",
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="Name of the bundle, with -o.", show_default="MODEL"),
    ] = None,
) -> None:
    """Write a model as a bundle: a portable folder that runs without torch and starts in a fraction of a second."""
    from clipcli.models.spec import Choice
    from clipcli.runs.models.run import export as export_model

    choice = Choice(model, "cpu", "fp32", SOURCE_ENGINE, hub.offline, hub.weights_dir)
    export_model(choice, output, dtype, name, verbosity.console())


def bench(
    models: _ModelsArgument,
    out: TableOptions,
    hub: HubOptions,
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="S", min=0.1, help="Seconds to spend on images, and then on texts.")
    ] = 5.0,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    engine: EngineOption = "auto",
) -> None:
    """Measure models on this machine: start-up time, images and texts per second, and memory, each in a new process."""
    from clipcli.models.spec import parse_choice
    from clipcli.output import open_writer
    from clipcli.runs.models.bench import benchmark

    choices = [
        parse_choice(name, device, precision, engine, offline=hub.offline, weights_dir=hub.weights_dir)
        for name in models
    ]
    with open_writer(out.parse_table()) as writer:
        for row in benchmark(choices, seconds):
            writer.write(row)


EXAMPLES = (
    "clipcli models list vit-b",
    "clipcli models pull ViT-B-32/laion2b_s34b_b79k",
    "clipcli models export ViT-B-32/laion2b_s34b_b79k -o my-bundle/",
)

COMMANDS = {"list": list_models, "info": info, "pull": pull, "verify": verify, "export": export, "bench": bench}
