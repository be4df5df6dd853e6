"""Messages about faults of a network: what may be in them, and what may not."""

from __future__ import annotations

import pytest
from huggingface_hub.errors import OfflineModeIsEnabled
from hypothesis import given
from hypothesis import strategies as st

from clipcli.core.redaction import redact, redact_url
from clipcli.inputs.sources.filesystems import driver_message, failure_reason, is_temporary

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
        ("https://host/a.jpg?monkey=1&key=2", "https://host/a.jpg"),
        ("https://host/a.jpg?id=3&page=2&w=100&fm=webp", "https://host/a.jpg?id=3&page=2&w=100&fm=webp"),
        ("https://host/a.jpg?id=0x7f3a&width=100%25", "https://host/a.jpg"),
        ("https://host/a.jpg#token", "https://host/a.jpg"),
        ("https://host/a.jpg#x?id=3", "https://host/a.jpg"),
        ("https://host/a.jpg?id=3#access_token=abc", "https://host/a.jpg?id=3"),
        ("https://host?token=abc", "https://host"),
        ("https://host:8080/a;jsessionid=abc/b.jpg;v=2?x", "https://host:8080/a/b.jpg"),
        ("https://a@b@host/a.jpg", "https://host/a.jpg"),
        ("https://user:pa/ss@host/a.jpg", "https://***"),
        ("https://user:pa?ss@host/a.jpg", "https://***"),
        ("https://user:pa#ss@host/a.jpg", "https://***"),
        ("https://[::1]:80/a.jpg?k=v", "https://[::1]:80/a.jpg"),
        ("HTTPS://user:pw@host/a.jpg?K=v", "HTTPS://host/a.jpg"),
        ("https://user:p%40w@host", "https://host"),
        ("https://host/r?to=https%3A%2F%2Fu%3Ap%40other%2F", "https://host/r"),
        ("https://host/r/https%3A%2F%2Fu%3Ap%40other%2Fx", "https://host/r/https%3A%2F%2F***"),
        ("simplecache::https://u:p@host/a?s=1", "simplecache::https://host/a"),
        ("two https://u:p@h/a?s=1 and 'https://u:p@h/b?s=1'.", "two https://h/a and 'https://h/b'."),
        ("s3://bucket/a#1.jpg", "s3://bucket/a#1.jpg"),
        ("s3://bucket/a?.jpg", "s3://bucket/a?.jpg"),
        ("s3://bucket/a.jpg?versionId=7&token=x", "s3://bucket/a.jpg?versionId=7"),
        ("s3://key:secret@bucket/a.jpg", "s3://bucket/a.jpg"),
        ("az://c/a.jpg?sv=2026&sig=abc", "az://c/a.jpg"),
        ("sftp://u:p@h/a.jpg#t=1", "sftp://h/a.jpg"),
        ("https://", "https://"),
        ("https://u:p'w@host/a.jpg", "https://host/a.jpg"),
        ("cannot read https:/u:p@host/a.jpg?s=1", "cannot read https:/host/a.jpg"),
        ("C:/me:p@host, a:/b@c?d=e", "C:/me:p@host, a:/b@c?d=e"),
        ("mailto:me@host, photos: a/b@c?d=e", "mailto:me@host, photos: a/b@c?d=e"),
        ("photos/user@host/a.jpg?key=2", "photos/user@host/a.jpg?key=2"),
        ("s3://bucket/a@b.jpg", "s3://bucket/a@b.jpg"),
    ],
)
def test_names_hold_no_secret(url, shown):
    assert redact(url) == redact(redact(url)) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:p w@host/a b.jpg?sig=a b'c", "https://host/a b.jpg"),
        ("https://host/a.jpg?sig=a\nb", "https://host/a.jpg"),
        ("no url", "no url"),
    ],
)
def test_a_text_that_is_one_url(url, shown):
    assert redact_url(url) == shown


@given(
    st.text("abc/:@?#%='&;. \n\"[]", max_size=30),
    st.sampled_from(
        ["https://{0}SECRET@h/a", "http://h/a?{0}=SECRET{0}", "https://h/a#{0}SECRET", "s3://{0}:SECRET@b/a"]
    ),
)
def test_no_secret_is_left_whatever_stands_around_it(noise, form):
    url = form.format(noise)
    assert "SECRET" not in redact_url(url) or not _has_secret(url)
    assert redact_url(redact_url(url)) == redact_url(url)


def _has_secret(url):
    """Whether the secret still stands in a user part, query or fragment: noise may have moved it into the path."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for what is none
    except ValueError:
        return False
    return "SECRET" in (parts.netloc.rpartition("@")[0] + parts.query + parts.fragment) and parts.scheme != "s3"


def test_a_driver_that_repeats_a_secret_is_not_quoted_with_it(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    said = driver_message("The key wJalrXUtnFEMI\nis wrong for https://me:pw@host/x?sig=1")
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
        (OfflineModeIsEnabled(), False, "the network is switched off by HF_HUB_OFFLINE=1"),
        (ValueError("Strange"), False, "strange"),
    ],
)
def test_a_fault_in_words(error, passing, words):
    assert is_temporary(error) is passing
    assert failure_reason(error, 3.0) == words
