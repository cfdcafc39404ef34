"""Check that pipelines load and predict the same without torch, as `make test-runtime` does:

python tests/check_runtime.py FOLDER

FOLDER has what `make_pipelines.py` wrote in an environment with torch.
"""

import json
import math
import sys
import tarfile
from importlib.util import find_spec
from pathlib import Path

import spacy

sys.path.insert(0, str(Path(__file__).parent / "data"))
from make_pipelines import read_predictions

TOLERANCE = 1e-6


def flatten(numbers):
    return [x for row in numbers for x in flatten(row)] if isinstance(numbers, list) else [numbers]


def check(name, found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        assert ours["labels"] == theirs["labels"], name
        for kind, numbers in theirs["numbers"].items():
            for x, y in zip(flatten(ours["numbers"][kind]), flatten(numbers), strict=True):
                assert math.isclose(x, y, rel_tol=TOLERANCE, abs_tol=TOLERANCE), (name, kind, x, y)


def main(folder):
    assert find_spec("torch") is None, "torch is installed here"
    (archive,) = folder.glob("pipelines-*.tar.xz")
    (predictions,) = folder.glob("predictions-*.json")
    with tarfile.open(archive) as opened:
        opened.extractall(folder)
    for name, expected in json.loads(predictions.read_text()).items():
        nlp = spacy.load(folder / name)
        check(name, read_predictions(nlp), expected)
        nlp.to_disk(folder / "again")
        check(name, read_predictions(spacy.load(folder / "again")), expected)
        print(f"{name}: same labels, values within {TOLERANCE}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
