"""The service of projects/serve: what clients get, what they are refused, and how it stops."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import spacy
import srsly
from spacy.language import Language

from ..conftest import ROOT, load_script, make_nlp

httpx = pytest.importorskip("httpx", reason="the client of projects/serve needs httpx")
for needed in ("fastapi", "prometheus_client", "uvicorn"):
    pytest.importorskip(needed, reason=f"projects/serve needs {needed}")

PROJECT = ROOT / "projects" / "serve"
URL = "http://service"
BAD = [
    (b'{"text": ""}', 422),
    (b'{"text": 5}', 422),
    (b'{"text": null}', 422),
    (b'{"texts": ["a"]}', 422),
    (b'["a"]', 422),
    (b'{"text": "a", "txet": "b"}', 422),
    (b'{"text": "\\ud800"}', 422),
    (b'{"text": "a', 422),
    (b"", 422),
    (b"\xff\xfe\x00", 400),
    (b"[" * 50_000, 400),
    (b'{"text": 1' + b"0" * 5000 + b"}", 400),
    (json.dumps({"text": "a " * 501}).encode(), 422),
    (json.dumps({"text": f"One {'(' * 101}"}).encode(), 422),
    (json.dumps({"text": "a" * 1_000_000}).encode(), 413),
]


@pytest.fixture(scope="module")
def service() -> Iterator[SimpleNamespace]:
    """The modules of the service."""
    sys.path.insert(0, str(PROJECT))
    from service import analysis, app, schema, settings

    yield SimpleNamespace(analysis=analysis, app=app, schema=schema, settings=settings)
    sys.path.remove(str(PROJECT))
    for name in [name for name in sys.modules if name.split(".")[0] == "service"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def load() -> Iterator[SimpleNamespace]:
    """The script that puts the service under load, and its client."""
    sys.path.insert(0, str(PROJECT / "scripts"))
    script = load_script(PROJECT / "scripts" / "load.py")
    import client
    import samples

    yield SimpleNamespace(script=script, client=client, samples=samples)
    sys.path.remove(str(PROJECT / "scripts"))
    for name in ("client", "samples", "server"):
        del sys.modules[name]


@pytest.fixture(scope="module")
def small_nlp() -> Language:
    """A pipeline with a tagger, entities, and a component that fails on some texts."""
    nlp = make_nlp(steps=3)
    ruler = nlp.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "LOC", "pattern": "Paris"}])  # type: ignore[attr-defined]

    @Language.component("fails_on_some")
    def fails_on_some(doc: Any) -> Any:
        if "fail" in doc.text:
            raise ValueError(doc.text)
        return doc

    nlp.add_pipe("fails_on_some")
    return nlp


class Tools:
    """A running service, a client and its metrics."""

    def __init__(self, client: Any):
        self.client = client

    async def post(self, path: str, **body: Any) -> Any:
        return await self.client.post(path, json=body)

    async def get_metric(self, line: str) -> float:
        text = (await self.client.get("/metrics")).text
        found = [row.rpartition(" ")[2] for row in text.splitlines() if row.startswith(line)]
        return float(found[0]) if found else 0.0


@asynccontextmanager
async def running(service: Any, nlp: Language, **settings: Any) -> AsyncIterator[Tools]:
    settings = {"max_text_length": 1000, "max_word_length": 100, "max_body": 500_000, **settings}
    app = service.app.create_app(service.settings.Settings(pipeline="none", **settings), nlp)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=URL) as client:
        tools = Tools(client)
        assert (await client.get("/health")).status_code == 200
        assert (await client.get("/ready")).status_code == 503
        async with app.router.lifespan_context(app):
            assert (await client.get("/ready")).status_code == 200
            yield tools
        assert (await client.get("/ready")).status_code == 503
        assert (await tools.post("/analyse", text="a")).status_code == 503


def make_texts(n: int) -> list[str]:
    return [f"In Paris , {'bird' * (i % 7)} number{i} sang ." for i in range(n)]


def get_tags(nlp: Language, text: str) -> list[dict[str, str]]:
    return [{"text": token.text, "tag": token.tag_} for token in nlp(text)]


def test_answers_are_those_of_the_pipeline(service: Any, small_nlp: Language) -> None:
    async def run() -> None:
        async with running(service, small_nlp) as tools:
            texts = [*make_texts(3), " ", "(" * 100, "\n\x00 é 🙂"]
            one = [(await tools.post("/analyse", text=text)).json() for text in texts]
            batch = (await tools.post("/analyse_batch", texts=texts)).json()
            assert one == batch
            for text, answer in zip(texts, one, strict=True):
                service.schema.Analysis.model_validate(answer)
                assert answer["tokens"] == get_tags(small_nlp, text)
            assert one[0]["ents"] == [{"start_char": 3, "end_char": 8, "label": "LOC"}]

    asyncio.run(run())


def test_all_annotation_is_served(service: Any) -> None:
    nlp = spacy.blank("xx")
    doc = spacy.tokens.Doc(nlp.vocab, words=["In", "Graz"], lemmas=["in", "Graz"])
    doc.ents = [spacy.tokens.Span(doc, 1, 2, "LOC")]
    doc.cats = {"A": 0.25}
    if not spacy.tokens.Span.has_extension("probability"):
        nlp.add_pipe("rnn_ner")
    doc.ents[0]._.probability = 0.5
    assert service.analysis.to_dict(doc) == {
        "tokens": [{"text": "In", "lemma": "in"}, {"text": "Graz", "lemma": "Graz"}],
        "ents": [{"start_char": 3, "end_char": 7, "label": "LOC", "probability": 0.5}],
        "cats": {"A": 0.25},
    }


def test_concurrent_requests_share_batches(service: Any, small_nlp: Language) -> None:
    async def run() -> None:
        async with running(service, small_nlp, batch_size=8, max_wait_ms=50) as tools:
            answers = await asyncio.gather(
                *(tools.post("/analyse", text=text) for text in make_texts(24))
            )
            for text, answer in zip(make_texts(24), answers, strict=True):
                assert answer.json()["tokens"] == get_tags(small_nlp, text)
            assert await tools.get_metric("serve_batch_size_sum") == 24
            # Some may come too late for the first.
            assert await tools.get_metric("serve_batch_size_count") <= 5
            assert await tools.get_metric('serve_batch_size_bucket{le="8.0"') == (
                await tools.get_metric("serve_batch_size_count")
            )
            assert await tools.get_metric("serve_queue_length") == 0

    asyncio.run(run())


def test_text_that_fails_harms_no_other(service: Any, small_nlp: Language) -> None:
    async def run() -> None:
        async with running(service, small_nlp, max_wait_ms=50) as tools:
            texts = ["One .", "fail 2 .", "Three .", "fail 4 .", "Five ."]
            answers = await asyncio.gather(*(tools.post("/analyse", text=text) for text in texts))
            assert [answer.status_code for answer in answers] == [200, 500, 200, 500, 200]
            assert answers[1].json() == {"error": "The pipeline failed: ValueError"}
            batch = (await tools.post("/analyse_batch", texts=texts)).json()
            assert batch == [answer.json() for answer in answers]
            assert batch[4]["tokens"] == get_tags(small_nlp, "Five .")

    asyncio.run(run())


def test_full_queue(service: Any, small_nlp: Language) -> None:
    async def run() -> None:
        limits = {"queue_size": 4, "max_texts": 4, "batch_size": 2}
        async with running(service, small_nlp, **limits) as tools:
            answers = await asyncio.gather(
                *(tools.post("/analyse", text=text) for text in make_texts(30))
            )
            statuses = {answer.status_code for answer in answers}
            assert statuses == {200, 503}
            refused = next(answer for answer in answers if answer.status_code == 503)
            assert refused.headers["Retry-After"] == "1"
            assert "queue is full" in refused.json()["detail"]
            # A batch is taken as a whole, or not at all.
            assert (await tools.post("/analyse_batch", texts=["a"] * 4)).status_code == 200
            assert (await tools.post("/analyse_batch", texts=["a"] * 5)).status_code == 422

    asyncio.run(run())


def test_bad_requests_are_refused(service: Any, small_nlp: Language) -> None:
    async def run() -> None:
        async with running(service, small_nlp) as tools:
            headers = {"Content-Type": "application/json"}
            for body, status in BAD:
                response = await tools.client.post("/analyse", content=body, headers=headers)
                assert response.status_code == status, body[:50]
                # What was sent does not come back.
                assert response.json()["detail"] and len(response.content) < 500
            response = await tools.client.post("/analyse", content=b"\xff\xfe")
            assert response.status_code == 422
            for texts in ([], ["a", ""], ["a", 5], "a"):
                assert (await tools.post("/analyse_batch", texts=texts)).status_code == 422
            assert (await tools.client.get("/analyse")).status_code == 405
            assert (await tools.client.get("/other")).status_code == 404
            assert await tools.get_metric('serve_requests_total{path="other",status="404"}') == 1
            name = 'serve_requests_total{path="/analyse",status="413"}'
            assert await tools.get_metric(name) == 1
            assert await tools.get_metric("serve_batch_size_count") == 0

    asyncio.run(run())


def test_body_without_a_length_is_limited(service: Any, small_nlp: Language) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(60):
            yield b"a" * 10_000

    async def run() -> None:
        async with running(service, small_nlp) as tools:
            response = await tools.client.post("/analyse", content=chunks())
            assert response.status_code == 413

    asyncio.run(run())


def test_stopping_finishes_what_waits(service: Any, small_nlp: Language) -> None:
    async def run() -> None:
        async with running(service, small_nlp, batch_size=4, max_wait_ms=100) as tools:
            tasks = [
                asyncio.create_task(tools.post("/analyse", text=text)) for text in make_texts(20)
            ]
            while await tools.get_metric("serve_queue_length") == 0:
                await asyncio.sleep(0)
        assert [(await task).status_code for task in tasks] == [200] * 20
        others = asyncio.all_tasks() - {asyncio.current_task()}
        # The batcher's task is cancelled, and ends with the next round of the loop.
        await asyncio.wait(others, timeout=5) if others else None
        assert not asyncio.all_tasks() - {asyncio.current_task()}

    asyncio.run(run())


def test_vocab_does_not_grow(service: Any, small_nlp: Language) -> None:
    async def run() -> None:
        async with running(service, small_nlp) as tools:
            await tools.post("/analyse", text="One word .")
            # Its length counts words that are gone, too.
            before = len(list(small_nlp.vocab)), len(small_nlp.vocab.strings)
            for i in range(100):
                texts = [f"new{i}word{j} other{i}{j}" for j in range(5)]
                assert (await tools.post("/analyse_batch", texts=texts)).status_code == 200
            assert (len(list(small_nlp.vocab)), len(small_nlp.vocab.strings)) == before

    asyncio.run(run())


def test_pipeline_that_fails_on_every_text_does_not_start(service: Any) -> None:
    nlp = spacy.blank("xx")
    nlp.add_pipe("rnn_tagger")

    async def run() -> None:
        async with running(service, nlp):
            raise AssertionError("it has started")

    with pytest.raises(RuntimeError, match="fails on 'Lena"):
        asyncio.run(run())


def test_client_disconnects(service: Any, small_nlp: Language) -> None:
    """A client that goes away while it sends is no error of the service."""

    async def run() -> None:
        async with running(service, small_nlp) as tools:
            scope = {"type": "http", "method": "POST", "path": "/analyse", "headers": []}
            messages = [
                {"type": "http.request", "body": b"{", "more_body": True},
                {"type": "http.disconnect"},
            ]

            async def receive() -> Any:
                return messages.pop(0)

            await tools.client._transport.app(scope, receive, None)
            name = 'serve_requests_total{path="/analyse",status="499"}'
            assert await tools.get_metric(name) == 1

    asyncio.run(run())


def test_load_finds_wrong_answers(load: Any) -> None:
    expected = {"tokens": [{"text": "a"}], "ents": [], "cats": {"A": 0.5}}
    good, bad = (load.samples.Request(b"", answer) for answer in (expected, None))
    result = load.client.Result()
    close = {**expected, "cats": {"A": 0.50001}}
    others = [{**expected, "cats": {"A": 0.6}}, {**expected, "ents": [{}]}, {"error": "x"}]
    for answer in (expected, close, *others):
        result.add(good, httpx.Response(200, json=answer), 0.1)
    assert (result.n_wrong, result.n_unexpected, len(result.seconds)) == (3, 0, 5)
    for request, status in ((good, 422), (good, 500), (bad, 200), (bad, 500)):
        result.add(request, httpx.Response(status), 0.1)
    assert result.n_unexpected == 4
    for request, status in ((good, 503), (bad, 503), (bad, 400), (bad, 413)):
        result.add(request, httpx.Response(status), 0.1)
    assert (result.n_wrong, result.n_unexpected, result.n_done) == (3, 4, 13)


@pytest.mark.slow
def test_load_on_a_server_that_stops(load: Any, tmp_path: Path) -> None:
    make_nlp(steps=3).to_disk(tmp_path / "pipeline")
    output = tmp_path / "metrics" / "load.json"
    load.script.load_cli(
        [str(tmp_path / "pipeline")],
        requests=200,
        connections=8,
        bad=0.2,
        server="uvicorn",
        workers=1,
        stop_after=100,
        output=output,
    )
    [report] = srsly.read_json(output)
    assert report["n_requests"] == 200
    # Every text that was accepted has been answered; those that came later found no server.
    assert report["statuses"]["200"] == report["n_computed"] > 50
    assert set(report["statuses"]) <= {"200", "400", "413", "422"}
    assert 1 <= sum(report["errors"].values()) <= 100
    log = output.with_suffix(".log").read_text()
    assert "Application shutdown complete" in log and "Traceback" not in log


def test_settings_come_from_the_environment(service: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("SERVE_PIPELINE", "training/model-best")
    monkeypatch.setenv("SERVE_BATCH_SIZE", "8")
    monkeypatch.setenv("SERVE_THREADS", "")
    settings = service.settings.read_settings()
    assert (settings.pipeline, settings.batch_size) == ("training/model-best", 8)
    assert (settings.threads, settings.queue_size) == (None, 1024)
    monkeypatch.setenv("SERVE_QUEUE_SIZE", "100")
    with pytest.raises(ValueError, match="raise SERVE_QUEUE_SIZE"):
        service.settings.read_settings()
    monkeypatch.setenv("SERVE_BATCH_SIZE", "none")
    with pytest.raises(ValueError, match="batch_size"):
        service.settings.read_settings()
    monkeypatch.delenv("SERVE_PIPELINE")
    with pytest.raises(ValueError, match="pipeline"):
        service.settings.read_settings()


def test_readme_names_every_setting(service: Any) -> None:
    readme = (PROJECT / "README.md").read_text(encoding="utf8")
    for name, field in service.settings.Settings.model_fields.items():
        default = "" if field.default is None or field.is_required() else f"{field.default:,}"
        row = next(line for line in readme.splitlines() if f"`SERVE_{name.upper()}`" in line)
        assert row.split("|")[2].strip().strip("`") == default
