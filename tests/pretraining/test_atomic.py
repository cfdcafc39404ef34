import pytest

from spacy_rnn.pretraining.atomic import replace_path


def test_a_failed_write_leaves_the_old_content(tmp_path):
    path = tmp_path / "directory"
    for content in ("old", "new"):
        with replace_path(path) as temporary:
            temporary.mkdir()
            (temporary / "file").write_text(content)
    with pytest.raises(RuntimeError), replace_path(path) as temporary:
        temporary.mkdir()
        (temporary / "file").write_text("half")
        raise RuntimeError
    assert (path / "file").read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_cleaned_up(tmp_path):
    path = tmp_path / "file"
    (tmp_path / ".file.tmp").write_text("half")
    # It was killed between the two renames.
    (tmp_path / ".file.old").write_text("old")
    with pytest.raises(RuntimeError), replace_path(path):
        assert path.read_text() == "old"
        raise RuntimeError
    assert path.read_text() == "old"
    with replace_path(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]
