from __future__ import annotations

from clipcli.tasks.dedupe.levels import UNKNOWN_MODEL, thresholds_of


def test_measured_models_have_their_own_thresholds():
    assert thresholds_of("local-dir:models/surrogate").similar < UNKNOWN_MODEL.similar
    assert thresholds_of("tiny").similar < UNKNOWN_MODEL.similar
    assert thresholds_of("tiny-of-someone-else") == UNKNOWN_MODEL
