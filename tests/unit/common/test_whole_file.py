"""Files that are replaced as a whole."""

import stat

import pytest

from orchestrator.common.whole_file import locked, write_whole


def test_the_content_is_replaced_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "file.json"
    for text in ("old", "new\r\n"):
        write_whole(path, text)

    assert path.read_bytes() == b"new\r\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_it_is_readable_as_was_asked_for(tmp_path, mode):
    write_whole(tmp_path / "file", "text", mode)

    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


def test_what_cannot_be_written_leaves_the_old_content(tmp_path):
    path = tmp_path / "file"
    write_whole(path, "old")

    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "\ud800")

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_lock_is_held_by_one_at_a_time(tmp_path):
    path = tmp_path / "file"
    with locked(path), pytest.raises(BlockingIOError), locked(path, wait=False):
        pass
    with locked(path, wait=False):  # the first one let it go
        pass
