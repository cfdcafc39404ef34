"""The application: `uvicorn --factory service.app:create_app`."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import spacy
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from spacy.language import Language

from .analysis import Answer, analyse
from .batcher import Batcher, Unavailable
from .limits import LimitBody
from .metrics import CountRequests, Metrics
from .schema import Analysis, Failure, make_requests
from .settings import Settings, read_settings

RETRY_AFTER = "1"  # seconds
ERRORS: dict[int | str, dict[str, Any]] = {
    413: {"description": "The request is too large"},
    500: {"description": "The pipeline failed on the text", "model": Failure},
    503: {"description": "The queue is full, or the service is stopping: try again"},
}


def create_app(settings: Settings | None = None, nlp: Language | None = None) -> FastAPI:
    """Load the pipeline and make the application.

    settings (Optional[Settings]): The settings. By default, from the environment.
    nlp (Optional[Language]): The pipeline. By default, it is loaded.
    RETURNS (FastAPI): The application.
    """
    settings = settings or read_settings()
    nlp = nlp or spacy.load(settings.pipeline)
    metrics = Metrics()
    batcher = Batcher(partial(analyse, nlp), settings, metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await batcher.start()
        yield
        await batcher.stop()

    app = FastAPI(title="spaCy pipeline", lifespan=lifespan)
    app.add_middleware(LimitBody, max_body=settings.max_body)
    app.add_middleware(CountRequests, metrics=metrics)
    app.add_exception_handler(RequestValidationError, refuse_request)
    app.add_exception_handler(Unavailable, refuse_for_now)
    add_analyses(app, batcher.compute, settings)
    add_probes(app, batcher, metrics)
    return app


def add_analyses(app: FastAPI, compute: Callable[..., Any], settings: Settings) -> None:
    """Add `/analyse` and `/analyse_batch`. Their responses are JSON already, which the thread that
    computes has made: FastAPI only documents their models.
    """
    TextRequest, BatchRequest = make_requests(settings)

    @app.post("/analyse", response_model=Analysis, responses=ERRORS)
    async def analyse_text(request: TextRequest) -> Response:  # type: ignore[valid-type]
        """Analyse a text."""
        [answer] = await compute([request.text])
        return make_response(answer.body, 200 if answer.is_ok else 500)

    @app.post("/analyse_batch", response_model=list[Analysis | Failure], responses=ERRORS)
    async def analyse_batch(request: BatchRequest) -> Response:  # type: ignore[valid-type]
        """Analyse a list of texts, all or none. A text on which the pipeline fails has an `error`
        in its place."""
        answers: Sequence[Answer] = await compute(request.texts)
        return make_response(b"[" + b",".join(answer.body for answer in answers) + b"]")


def add_probes(app: FastAPI, batcher: Batcher, metrics: Metrics) -> None:
    """Add `/health`, `/ready` and `/metrics`."""

    @app.get("/health")
    async def health() -> dict[str, str]:
        """The process answers."""
        return {"status": "alive"}

    @app.get("/ready")
    async def ready() -> Response:
        """The pipeline is warm and takes texts."""
        if not batcher.is_ready:
            return JSONResponse({"status": "starting or stopping"}, 503)
        return JSONResponse({"status": "ready"})

    @app.get("/metrics")
    async def show_metrics() -> Response:
        """Metrics for Prometheus."""
        return Response(metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")


def make_response(body: bytes, status: int = 200) -> Response:
    """RETURNS (Response): A response with JSON."""
    return Response(body, status, media_type="application/json")


def refuse_request(request: Request, err: Exception) -> Response:
    """What is wrong with a request, and where. FastAPI's own handler repeats the input, which may
    be large, or bytes that are no JSON.
    """
    assert isinstance(err, RequestValidationError)
    detail = [{"loc": e["loc"], "msg": e["msg"], "type": e["type"]} for e in err.errors()]
    return JSONResponse({"detail": detail}, 422)


def refuse_for_now(request: Request, err: Exception) -> Response:
    """Status 503, and when to try again."""
    return JSONResponse({"detail": str(err)}, 503, headers={"Retry-After": RETRY_AFTER})
