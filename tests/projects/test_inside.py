import lzma

import pytest

from ..conftest import ROOT, load_script


def test_the_first_files_are_linked(tmp_path):
    script = load_script(ROOT / "projects" / "inside" / "scripts" / "prepare.py")
    source, target = tmp_path / "source", tmp_path / "texts"
    source.mkdir()
    for i in range(4):
        (source / f"train-{i:02d}.txt.xz").write_bytes(lzma.compress(b"text"))
    for n_files in (3, 2):
        script.main(source, target, n_files)
        names = sorted(path.name for path in target.iterdir())
        assert names == [f"train-{i:02d}.txt.xz" for i in range(n_files)]
        assert lzma.decompress((target / names[0]).read_bytes()) == b"text"
    with pytest.raises(SystemExit):
        script.main(tmp_path, target, 1)
