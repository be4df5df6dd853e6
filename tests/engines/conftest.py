from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from clipcli.bundle import Bundle
    from clipcli.engines.openclip import OpenClipEncoder


@pytest.fixture(scope="session")
def source() -> OpenClipEncoder:
    """A random CLIP of one layer a tower, on the open_clip engine."""
    import tiny_models

    return tiny_models.build("plain")


@pytest.fixture(scope="session")
def exported(source: OpenClipEncoder, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The same model as a bundle; exported once, because that takes seconds. Never write into its folder."""
    from clipcli.engines.onnx_export import export

    return export(source, tmp_path_factory.mktemp("exported") / "random")
