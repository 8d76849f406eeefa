"""The routes of `det view`."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, Literal

from det_core.errors import DetError
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from det_inspect.view.assessment import ALL_KINDS
from det_inspect.view.comparison import Thresholds
from det_inspect.view.correction_routes import add_corrections
from det_inspect.view.figures import confusion, curves, totals
from det_inspect.view.predictor import ModelPredictions, drawn_by
from det_inspect.view.session import Filters, Session
from det_inspect.view.thumbnails import displayed

__all__ = ["make_app"]

_PAGES = Path(__file__).with_name("pages")
_TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css"}
_FILES = {path.name: path for path in sorted(_PAGES.iterdir()) if path.suffix in _TYPES}
_KEEP = {"Cache-Control": "private, max-age=300"}


Label = Annotated[int | None, Query(ge=-1)]
Score = Annotated[float, Query(ge=0, le=1)]
IoU = Annotated[float, Query(ge=0.1, le=0.95)]
Model = Annotated[int, Query(ge=0)]


def thresholds_of(
    score: Score = 0.5,
    iou: IoU = 0.5,
    model: Model = 0,
    kind: Annotated[str, Query(max_length=30)] = "",
    true: Label = None,
    predicted: Label = None,
) -> Thresholds:
    """The thresholds of a request."""
    if kind and kind not in ALL_KINDS:
        raise HTTPException(422, f"kind: must be one of {', '.join(ALL_KINDS)}")
    return Thresholds(score, iou, model, kind, true, predicted)


Limits = Annotated[Thresholds, Depends(thresholds_of)]


def filters_of(
    thresholds: Limits,
    split: Annotated[str, Query(max_length=200)] = "",
    label: Annotated[int | None, Query(alias="class", ge=0)] = None,
    size: Literal["", "small", "medium", "large"] = "",
    defect: Annotated[str, Query(max_length=100)] = "",
    text: Annotated[str, Query(max_length=500)] = "",
    marked: bool = False,
    sort: Literal["file", "name", "objects", "defects", "worst", "difference"] = "file",
) -> Filters:
    """The filters of a request."""
    return Filters(split, label, size, defect, text, marked, sort, thresholds)


def make_app(session: Session) -> FastAPI:
    """The application of one session; all answers of /api are JSON, errors {"errors": [...]}."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        session.close()

    app = FastAPI(title="det view", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(DetError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(StarletteHTTPException, _failed)
    _add_pages(app)
    _add_set(app, session)
    _add_files(app, session)
    _add_models(app, session)
    add_corrections(app, session)
    return app


def _add_pages(app: FastAPI) -> None:
    """The page and its modules, which are files of the package; no other file has a route."""
    pages = {name: (path.read_bytes(), _TYPES[path.suffix]) for name, path in _FILES.items()}

    @app.get("/")
    async def page() -> Response:
        content, media_type = pages["index.html"]
        return Response(content, media_type=media_type)

    @app.get("/pages/{name}")
    async def module(name: str) -> Response:
        if name not in pages:
            raise HTTPException(404, f"there is no page {name!r}")
        content, media_type = pages[name]
        return Response(content, media_type=media_type)


def _add_set(app: FastAPI, session: Session) -> None:
    @app.get("/api/set")
    def about() -> dict[str, Any]:
        return session.about()

    @app.get("/api/defects")
    def defects() -> dict[str, Any]:
        session.defects.start()
        return session.defects.summary()

    @app.get("/api/pictures")
    def listed(
        filters: Annotated[Filters, Depends(filters_of)],
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> dict[str, Any]:
        order = session.select(filters)
        items = session.items(order[offset : offset + limit], filters.thresholds)
        return {"total": len(order), "offset": offset, "items": items}

    @app.get("/api/pictures/{index}")
    def details(index: int, iou: IoU = 0.5) -> dict[str, Any]:
        return session.details(_checked(session, index), iou)


def _add_files(app: FastAPI, session: Session) -> None:
    """Pictures by their number in the set; there is no route by name or path."""

    @app.get("/pictures/{index}/thumbnail")
    def thumbnail(index: int) -> Response:
        path = session.set.pictures[_checked(session, index)].path
        content = session.thumbnails.get(path).read_bytes()
        return Response(content, media_type="image/jpeg", headers=_KEEP)

    @app.get("/pictures/{index}/image")
    def image(index: int) -> Response:
        content, media_type = displayed(session.set.pictures[_checked(session, index)].path)
        return Response(content, media_type=media_type, headers=_KEEP)


def _add_models(app: FastAPI, session: Session) -> None:
    @app.get("/api/models")
    def models(thresholds: Limits) -> dict[str, Any]:
        about = session.comparison.about()
        return {"models": about, "kinds": session.comparison.kinds(thresholds) if about else {}}

    @app.get("/api/figures")
    def figures(thresholds: Limits) -> dict[str, Any]:
        if not session.comparison.assessments:
            raise HTTPException(404, "there are no predictions")
        arguments = session.comparison, session.set, thresholds
        return {"confusion": confusion(*arguments), "curves": curves(*arguments), "totals": totals(*arguments)}

    @app.get("/api/runs")
    def runs() -> list[dict[str, Any]]:
        return session.runs.content()

    @app.get("/runs/{run}/samples/{name}")
    def sample(run: int, name: str) -> FileResponse:
        path = session.runs.sample(run, name)
        if path is None:
            raise HTTPException(404, f"there is no sample {name!r} of run {run}")
        return FileResponse(path, media_type="image/jpeg", headers=_KEEP)

    @app.get("/api/writers")
    def writers() -> list[str]:
        from det_core.plugins import registry

        return [part.name for part in registry.components("writers")]

    @app.get("/pictures/{index}/drawn")
    def drawing(
        index: int, writer: Annotated[str, Query(max_length=100)] = "pictures", model: Model = 0, score: Score = 0.5
    ) -> Response:
        path = session.set.pictures[_checked(session, index)].path
        assessments = session.comparison.assessments
        predictions = assessments[model].predictions if model < len(assessments) else None
        if not isinstance(predictions, ModelPredictions):
            raise HTTPException(404, "drawings need a model; these are predictions from a file")
        content = drawn_by(predictions.detector(), path, writer, score)
        media_type = "image/png" if content.startswith(b"\x89PNG") else "image/jpeg"
        return Response(content, media_type=media_type, headers={"Cache-Control": "no-store"})


def _checked(session: Session, index: int) -> int:
    if not 0 <= index < len(session.set.pictures):
        raise HTTPException(404, f"there is no picture {index}; there are {len(session.set.pictures)}")
    return index


async def _refused(request: Request, error: Any) -> JSONResponse:
    return JSONResponse({"errors": [str(error)]}, 422)


async def _invalid(request: Request, error: Any) -> JSONResponse:
    errors = [f"{'.'.join(map(str, each['loc'][1:]))}: {each['msg']}" for each in error.errors()]
    return JSONResponse({"errors": errors}, 422)


async def _failed(request: Request, error: Any) -> JSONResponse:
    return JSONResponse({"errors": [str(error.detail)]}, error.status_code, error.headers)
