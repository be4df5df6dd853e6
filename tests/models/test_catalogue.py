"""Published figures and aliases: each names a model that open_clip has."""

from __future__ import annotations

import pytest

from clipcli.engines import openclip_registry
from clipcli.models import catalogue
from clipcli.options.shared import ModelOptions


def test_figures_are_of_models_that_exist():
    for row in catalogue.published():
        assert row.tag in openclip_registry.tags().get(row.architecture, {}), row.name
        assert row.imagenet_top1 is None or 0 < row.imagenet_top1 < 1
        assert row.average_38 is None or 0 < row.average_38 < 1
        assert 1 < row.parameters_millions < 20_000
        assert row.gflops is None or row.gflops > 0


def test_figures_come_best_first_and_once():
    rows = catalogue.published()
    accuracies = [row.imagenet_top1 or 0 for row in rows]
    assert accuracies == sorted(accuracies, reverse=True)
    assert len({row.name for row in rows}) == len(rows)


def test_figures_of_the_papers():
    """Three that are easily looked up."""
    for name, tag, accuracy in [
        ("ViT-B-32", "laion2b_s34b_b79k", 0.666),
        ("ViT-B-32-256", "datacomp_s34b_b86k", 0.728),
        ("ViT-L-14", "datacomp_xl_s13b_b90k", 0.792),
    ]:
        found = catalogue.figures(name, tag)
        assert found is not None
        assert found.imagenet_top1 == pytest.approx(accuracy, abs=0.001)
    assert catalogue.figures("ViT-B-32", "none") is None


def test_a_download_is_four_bytes_a_parameter():
    found = catalogue.figures("ViT-B-32-256", "datacomp_s34b_b86k")
    assert found is not None
    assert found.download_megabytes == pytest.approx(605, abs=5)


def test_the_default_tag_is_the_most_accurate_one():
    for architecture in {row.architecture for row in catalogue.published() if row.imagenet_top1 is not None}:
        best = max(row.imagenet_top1 or 0 for row in catalogue.published() if row.architecture == architecture)
        found = catalogue.figures(architecture, catalogue.default_tag(architecture) or "")
        assert found is not None
        assert found.imagenet_top1 == best
    assert catalogue.default_tag("none") is None


@pytest.mark.parametrize("alias", [alias for alias in catalogue.ALIASES if alias.name != "tiny"], ids=lambda a: a.name)
def test_aliases_name_models_with_figures(alias: catalogue.Alias):
    architecture, _, tag = alias.model.partition("/")
    assert tag in openclip_registry.tags()[architecture]
    assert catalogue.figures(architecture, tag) is not None


def test_aliases_get_better():
    accuracies = []
    for name in ("fast", "balanced", "best"):
        found = catalogue.figures(*catalogue.resolve_alias(name).split("/"))
        assert found is not None
        accuracies.append(found.imagenet_top1)
    assert accuracies == sorted(accuracies)
    assert catalogue.resolve_alias("ViT-B-32") == "ViT-B-32"


def test_the_default_is_one_model_everywhere():
    assert ModelOptions().choice().model == catalogue.DEFAULT_MODEL == catalogue.resolve_alias("fast")
