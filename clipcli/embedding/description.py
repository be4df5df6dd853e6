"""What stands beside the vectors of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipcli.vectorfiles import Shard, VectorsInfo

if TYPE_CHECKING:
    from clipcli.embedding.embedder import Embedder
    from clipcli.embedding.sources import Input, Source
    from clipcli.embedding.target import Target


def description(session: Embedder, source: Source[Input], target: Target, *, raw: bool) -> VectorsInfo:
    """By which model, of what, read how; of a shard, how many inputs there were is known at the end only."""
    index, count = target.shard
    return VectorsInfo(
        kind=source.kind,
        model=session.info.name,
        fingerprint=session.info.fingerprint,
        precision=session.model.precision,
        unit_length=not raw,
        prompts=source.prompts_name,
        decoding=", ".join(session.decoding) if source.kind == "image" else "",
        pixels=session.rendering if source.kind == "image" else "",
        shard=Shard(index, count, 0, "") if count > 1 else None,
        parameters=session.info,
        scoring=session.scoring,
    )
