import shutil

import pytest
import safetensors.torch

from spacy_rnn.pretraining.checkpoints import find_checkpoints, load_checkpoint, save_checkpoint

from .conftest import make_config, make_run


@pytest.fixture
def run(texts, tmp_path):
    return make_run(make_config(texts), tmp_path / "run")


def save(run, directory, step, keep=2):
    run.state.position.step = step
    settings = {"settings": {"learn_rate": 0.1, "n_process": 1}, "layers": {"model.width": 16}}
    save_checkpoint(directory, run.state, settings, run.processes, keep)


def load(run, path, learn_rate=0.1, n_process=1, width=16):
    settings = {"learn_rate": learn_rate, "n_process": n_process}
    settings = {"settings": settings, "layers": {"model.width": width}}
    load_checkpoint(path, run.state, settings, run.processes)


def test_the_last_checkpoints_are_kept(run, tmp_path):
    for step in (7, 14, 100):
        save(run, tmp_path, step)
    paths = find_checkpoints(tmp_path)
    assert [path.name for path in paths] == ["step-000000014", "step-000000100"]
    load(run, paths[0], n_process=3)
    assert run.state.position.step == 14


def test_other_settings_are_refused(run, tmp_path):
    save(run, tmp_path, 1)
    (path,) = find_checkpoints(tmp_path)
    with pytest.raises(ValueError, match=r"learn_rate = 0.1, but now it is 0.5"):
        load(run, path, learn_rate=0.5)
    with pytest.raises(ValueError, match=r"model.width = 16, but now it is 8"):
        load(run, path, width=8)
    run.processes.n_processes = 2
    with pytest.raises(ValueError, match="processes = 1, but now it is 2"):
        load(run, path)


def test_a_damaged_checkpoint_is_named(run, tmp_path):
    save(run, tmp_path, 1)
    (path,) = find_checkpoints(tmp_path)
    for name in ("tensors.safetensors", "state.json"):
        content = (path / name).read_bytes()
        for damaged in (content[:0], content[:2], content[:300], b"{}"):
            (path / name).write_bytes(damaged)
            with pytest.raises(ValueError, match=f"{path.name}.*Remove it"):
                load(run, path)
        (path / name).unlink()
        with pytest.raises(ValueError, match=f"{path.name}.*Remove it"):
            load(run, path)
        (path / name).write_bytes(content)
    load(run, path)


def test_a_full_disk_leaves_earlier_checkpoints(run, tmp_path, monkeypatch):
    save(run, tmp_path / "checkpoints", 7)

    def fill(tensors, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", fill)
    with pytest.raises(OSError, match="No space"):
        save(run, tmp_path / "checkpoints", 14)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000000007"]
    load(run, tmp_path / "checkpoints" / "step-000000007")


def test_a_run_resumes_from_the_checkpoint_before_a_damaged_one(texts, tmp_path):
    config = make_config(texts, max_epochs=0, max_steps=4, checkpoint_frequency=2)
    make_run(config, tmp_path).run()
    before, last = find_checkpoints(tmp_path / "checkpoints")
    (last / "state.json").write_text("{")
    with pytest.raises(ValueError, match=last.name):
        make_run(config, tmp_path, resume=True)
    shutil.rmtree(last)
    assert make_run(config, tmp_path, resume=True).state.position.step == 2
    assert before.exists()
