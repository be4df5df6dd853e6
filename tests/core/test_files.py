"""Folders that a search passes over."""

from __future__ import annotations

import pytest

from clipcli.core.files import is_skipped_folder, lies_in_skipped_folder


@pytest.mark.parametrize(
    "name",
    [
        "$RECYCLE.BIN", "$Recycle.Bin", "#recycle", "@Recycle", "RECYCLER", "@eaDir", "__MACOSX", ".thumbnails",
        "System Volume Information", "node_modules", ".Trash", ".Trash-1000", "Family Previews.lrdata", "lost+found",
    ],
)  # fmt: skip
def test_bins_and_caches_are_skipped(name: str):
    assert is_skipped_folder(name)
    assert lies_in_skipped_folder(f"/volume1/photos/{name}/2024/a.jpg")


@pytest.mark.parametrize("name", ["trash", "Recycling", "thumbnails", "originals", "masters", "modules", "a.jpg", ""])
def test_folders_that_people_make_are_not(name: str):
    """`trash` is a class of waste in more than one data set."""
    assert not is_skipped_folder(name)
    assert not lies_in_skipped_folder(f"photos/{name}/a.jpg")


def test_of_a_photo_library_only_the_originals_are_a_persons():
    assert lies_in_skipped_folder("Photos.photoslibrary/resources/derivatives/a.jpg")
    assert not lies_in_skipped_folder("Photos.photoslibrary/originals/0/a.jpg")


def test_a_file_is_no_folder():
    assert not lies_in_skipped_folder("photos/node_modules")
