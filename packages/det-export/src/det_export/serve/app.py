"""The routes of `det serve`."""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import det_core
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from starlette.exceptions import HTTPException

from det_export.serve.answers import MEDIA_TYPES, form_of
from det_export.serve.metrics import Metrics
from det_export.serve.predicting import Predictor
from det_export.serve.served import ServedModel
from det_export.serve.settings import Limits, RefusedError

__all__ = ["make_app"]

_PAGES = Path(__file__).with_name("pages")
_POLICY = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'"
}
_PICTURE = {"type": "string", "format": "binary"}
_BODY = {
    "requestBody": {
        "required": True,
        "description": "The file of a picture as it is, one or several in a form, or a list of URLs, where the server "
        "allows them.",
        "content": {
            "image/*": {"schema": _PICTURE},
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {"picture": {"type": "array", "items": _PICTURE}}}
            },
            "application/json": {"schema": {"type": "array", "items": {"type": "string", "format": "uri"}}},
        },
    }
}
_ERRORS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The predictions.", "content": {each: {} for each in MEDIA_TYPES.values()}},
    400: {"description": "The body cannot be read, or has no picture."},
    401: {"description": "The token is missing or wrong."},
    404: {"description": "There is no model of this name."},
    408: {"description": "The body did not arrive in time."},
    413: {"description": "The body, a picture or the list of pictures is too large."},
    415: {"description": "A file is no picture."},
    422: {"description": "A picture is damaged or an option is wrong."},
    503: {"description": "The queue is full; Retry-After gives the seconds to wait."},
}

Form = Annotated[
    Literal["json", "png", "npz"] | None,
    Query(alias="format", description="json, png or npz; by default by the header Accept."),
]
Threshold = Annotated[float | None, Query(ge=0, le=1, description="Score threshold; by default the checkpoint's.")]
Most = Annotated[int, Query(ge=1, le=10_000, description="Most detections of a picture, the best.")]


def make_app(
    models: Mapping[str, ServedModel],
    limits: Limits,
    metrics: Metrics,
    allowed: Callable[[str], bool] | None = None,
) -> FastAPI:
    """The application; the first of the models answers at /predict, each of them at /predict/NAME.

    Args:
        models: name -> model; the first one answers at /predict.
        limits: bounds on sizes, times and queues.
        metrics: counters that the page of metrics shows.
        allowed: function that decides whether downloads from an IP address are permitted; None refuses all URLs.
    """
    predictor = Predictor(limits, metrics, allowed)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        predictor.close()

    app = FastAPI(title="det serve", version=_version(), lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _failed)
    _add_pages(app)
    _add_status(app, models, metrics)

    async def answer(request: Request, name: str, form: str | None, threshold: float | None, limit: int) -> Response:
        if name not in models:
            raise RefusedError(404, [f"there is no model {name!r}; there is {', '.join(models)}"])
        form = form or form_of(request.headers.get("accept", ""))
        return await predictor.answer(request, models[name], form, threshold, limit)

    @app.post("/predict", responses=_ERRORS, openapi_extra=_BODY, response_class=Response)
    async def predict(
        request: Request, form: Form = None, threshold: Threshold = None, limit: Most = 10_000
    ) -> Response:
        """Predictions of the first model."""
        return await answer(request, next(iter(models)), form, threshold, limit)

    @app.post("/predict/{model}", responses=_ERRORS, openapi_extra=_BODY, response_class=Response)
    async def predict_with(
        request: Request,
        model: str,
        form: Form = None,
        threshold: Threshold = None,
        limit: Most = 10_000,
    ) -> Response:
        """Predictions of a model by its name."""
        return await answer(request, model, form, threshold, limit)

    return app


def _add_pages(app: FastAPI) -> None:
    """The page to try a model, and the page of the routes; scripts are files of the package."""

    def add(path: str, file: str) -> None:
        async def page() -> FileResponse:
            return FileResponse(_PAGES / file, headers=_POLICY)

        app.add_api_route(path, page, include_in_schema=False)

    for path, file in (("/", "try.html"), ("/page.js", "try.js"), ("/docs", "docs.html"), ("/docs.js", "docs.js")):
        add(path, file)


def _add_status(app: FastAPI, models: Mapping[str, ServedModel], metrics: Metrics) -> None:
    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether the server takes requests."""
        return {"status": "ok"}

    @app.get("/metrics", response_class=Response)
    async def counters() -> Response:
        """Counters in the text format of Prometheus."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/models")
    async def listed() -> list[dict[str, Any]]:
        """The models: names, classes, thresholds, and reloads."""
        return [
            {
                "name": each.name,
                "classes": list(each.detector.classes),
                "threshold": each.detector.threshold,
                "batch": each.batch,
                "reloads": each.reloads,
                "problem": each.problem,
            }
            for each in models.values()
        ]


async def _refused(request: Request, error: Any) -> JSONResponse:
    return JSONResponse({"errors": list(error.errors)}, error.status, dict(error.headers))


async def _invalid(request: Request, error: Any) -> JSONResponse:
    errors = [f"{'.'.join(map(str, each['loc'][1:]))}: {each['msg']}" for each in error.errors()]
    return JSONResponse({"errors": errors}, 422)


async def _failed(request: Request, error: Any) -> JSONResponse:
    return JSONResponse({"errors": [str(error.detail)]}, error.status_code, error.headers)


def _version() -> str:
    return str(getattr(det_core, "__version__", "0.2"))
