"""Measure one deployed system in a new process of its own environment: runtime.py runs this.

It imports only the standard library, and the library that loads the model. For Stanza, texts have
one token between two spaces.
"""

import json
import os
import statistics
import sys
import sysconfig
import time
from collections.abc import Callable
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

BATCH_SIZE = 256
CALLS = 100
# Whose versions are stored
PACKAGES = ("spacy", "spacy-rnn", "thinc", "numpy", "torch", "flair", "stanza")
# What no deployed system needs
INSTALLERS = ("pip", "setuptools", "wheel", "_distutils_hack", "pkg_resources")


def load_spacy(model: str) -> Callable[[list[str]], Any]:
    """RETURNS (Callable[[List[str]], Any]): Annotates texts with spaCy."""
    import spacy

    nlp = spacy.load(model)
    return lambda texts: list(nlp.pipe(texts, batch_size=BATCH_SIZE)) if texts[1:] else nlp(*texts)


def load_flair(model: str) -> Callable[[list[str]], Any]:
    """RETURNS (Callable[[List[str]], Any]): Annotates texts with Flair."""
    from flair.data import Sentence
    from flair.models import SequenceTagger

    tagger = SequenceTagger.load(next(Path(model).glob("*.pt")))

    def predict(texts: list[str]) -> Any:
        sentences = [Sentence(text) for text in texts]
        tagger.predict(sentences, mini_batch_size=BATCH_SIZE)
        return sentences

    return predict


def load_stanza(model: str) -> Callable[[list[str]], Any]:
    """RETURNS (Callable[[List[str]], Any]): Annotates texts with Stanza."""
    import stanza

    # A file of Stanza's names its processor: pos.pt or ner.pt.
    path = next(Path(model).glob("*.pt"))
    nlp = stanza.Pipeline(
        "en",
        dir=model,
        processors=f"tokenize,{path.stem}",
        tokenize_pretokenized=True,
        allow_unknown_language=True,
        download_method=None,
        use_gpu=False,
        verbose=False,
        **{f"{path.stem}_model_path": str(path), f"{path.stem}_batch_size": BATCH_SIZE},
    )
    return lambda texts: nlp([text.split(" ") for text in texts])


LOADERS = {"spacy": load_spacy, "flair": load_flair, "stanza": load_stanza}


def measure_start(load: Callable[[str], Any], model: str, text: str) -> dict[str, float]:
    """Measure everything from the start of this process to the first annotated text."""
    load(model)([text])
    # Seconds of all threads since the process started
    return {"cpu_s": round(time.process_time(), 3), **get_memory()}


def measure_stream(
    load: Callable[[str], Any], model: str, texts: list[str], short: list[str], words: int
) -> dict[str, float]:
    """Measure words per second of texts that are new and of the same again, then the latency."""
    predict = load(model)
    result = {}
    for name in ("first_pass", "warm"):
        start, cpu = time.perf_counter(), time.process_time()
        predict(texts)
        result[name] = round(words / (time.perf_counter() - start), 1)
        result[f"{name}_cpu"] = round(words / (time.process_time() - cpu), 1)
    times, cpu_times = [], []
    for i in range(CALLS):
        start, cpu = time.perf_counter(), time.process_time()
        predict([short[i % len(short)]])
        times.append(time.perf_counter() - start)
        cpu_times.append(time.process_time() - cpu)
    result["latency_ms"] = round(1000 * statistics.median(times), 3)
    result["latency_cpu_ms"] = round(1000 * statistics.median(cpu_times), 3)
    return {**result, "stream_peak_mb": get_memory()["peak_mb"]}


def get_memory() -> dict[str, float]:
    """Get the memory that this process has resident, and the most it had, in megabytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf8").splitlines()
    status = dict(line.split(":", 1) for line in lines)
    resident, peak = (int(status[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
    return {"memory_mb": round(resident, 1), "peak_mb": round(peak, 1)}


def measure_size(model: str) -> dict[str, Any]:
    """Measure the packages of this environment, without those that install packages, and the
    model, in megabytes on disk, and get the versions of PACKAGES.
    """
    packages = Path(sysconfig.get_path("purelib"))
    names = [path for path in packages.iterdir() if path.name.split("-")[0] not in INSTALLERS]
    return {
        "environment_mb": round(sum(map(get_size, names)) / 2**20, 1),
        "model_mb": round(get_size(Path(model)) / 2**20, 2),
        "python": sys.version.split()[0],
        "versions": {
            each.metadata["Name"]: each.version
            for each in distributions()
            if each.metadata["Name"] in PACKAGES
        },
    }


def get_size(path: Path) -> int:
    """Get the bytes that a file or directory occupies."""
    if not path.is_dir():
        return path.stat().st_blocks * 512
    # A trained pipeline may be a link.
    files = (Path(root, name) for root, _, names in os.walk(path.resolve()) for name in names)
    return sum(file.lstat().st_blocks * 512 for file in files)


def main(what: str, library: str, model: str, texts: str = "") -> None:
    """Print what was measured as JSON.

    what (str): "start", "stream" or "size".
    library (str): What loads the model.
    model (str): The model.
    texts (str): A JSON file with "texts", "short" and "words".
    """
    if what == "size":
        result = measure_size(model)
    else:
        data = json.loads(Path(texts).read_text(encoding="utf8"))
        load = LOADERS[library]
        if what == "start":
            result = measure_start(load, model, data["short"][0])
        else:
            result = measure_stream(load, model, **data)
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
