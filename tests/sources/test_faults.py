"""What may be said of a fault, and what may not."""

from __future__ import annotations

import pytest
from huggingface_hub.errors import OfflineModeIsEnabled

from clipcli.sources.faults import is_passing, message, reason, without_secrets

SIGNED = (
    "https://bucket.s3.amazonaws.com/a%20b.jpg?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F2026&"
    "X-Amz-Signature=5f2c&versionId=7"
)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:hunter2@host/a.jpg", "https://host/a.jpg"),
        ("ftp://user@host/a.jpg", "ftp://host/a.jpg"),
        (SIGNED, "https://bucket.s3.amazonaws.com/a%20b.jpg?versionId=7"),
        ("https://host/a.jpg?sig=abc%3D&se=2026&id=3", "https://host/a.jpg?id=3"),
        ("https://host/a.jpg?token=abc", "https://host/a.jpg"),
        ("https://host/a.jpg?monkey=1&key=2", "https://host/a.jpg?monkey=1"),
        ("photos/user@host/a.jpg?key=2", "photos/user@host/a.jpg?key=2"),
        ("s3://bucket/a@b.jpg", "s3://bucket/a@b.jpg"),
    ],
)
def test_names_hold_no_secret(url, shown):
    assert without_secrets(url) == shown


def test_a_driver_that_repeats_a_secret_is_not_quoted_with_it(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    said = message("The key wJalrXUtnFEMI\nis wrong for https://me:pw@host/x?sig=1")
    assert said == "The key *** is wrong for https://host/x"


class AnsweredError(Exception):
    def __init__(self, status):
        super().__init__("…")
        self.status = status


@pytest.mark.parametrize(
    ("error", "passing", "words"),
    [
        (TimeoutError(), True, "no answer within 3 s"),
        (ConnectionResetError(), True, "cannot connect to the server"),
        (AnsweredError(503), True, "the server answered 503"),
        (AnsweredError(429), True, "the server answered 429"),
        (AnsweredError(400), False, "the server answered 400"),
        (AnsweredError(403), False, "access denied: are the credentials right?"),
        (PermissionError("AKIA123 may not"), False, "access denied: are the credentials right?"),
        (FileNotFoundError("The specified bucket does not exist"), False, "no such bucket"),
        (FileNotFoundError("x.jpg"), False, "no such object"),
        (OfflineModeIsEnabled(), False, "the network is not to be used: HF_HUB_OFFLINE=1"),
        (ValueError("Strange"), False, "strange"),
    ],
)
def test_a_fault_in_words(error, passing, words):
    assert is_passing(error) is passing
    assert reason(error, 3.0) == words
