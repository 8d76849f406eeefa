"""The routes of `det view` that write: marks, corrected copies, exported pictures."""

from typing import Annotated, Any

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field

from det_inspect.view.session import Session

__all__ = ["add_corrections"]

Name = Annotated[str, Field(min_length=1, max_length=100)]


class Mark(BaseModel):
    """An object by its row in the set, and whether its annotation is bad."""

    row: int
    bad: bool


class Copy(BaseModel):
    """A corrected copy of the annotations of a split."""

    split: Name
    name: Name


class Export(BaseModel):
    """Chosen pictures by their numbers in the set, and the name of a new folder."""

    pictures: Annotated[list[int], Field(max_length=1_000_000)]
    name: Name


def add_corrections(app: FastAPI, session: Session) -> None:
    """Add the routes to the application."""
    corrections = session.corrections

    @app.get("/api/marks")
    def marks() -> dict[str, Any]:
        return corrections.summary()

    @app.post("/api/marks")
    def mark(request: Mark) -> dict[str, Any]:
        if not 0 <= request.row < len(session.set.records):
            raise HTTPException(404, f"there is no object {request.row}")
        corrections.mark(request.row, request.bad)
        return corrections.summary()

    @app.post("/api/corrected")
    def corrected(copy: Copy) -> dict[str, Any]:
        return corrections.write(copy.split, copy.name)

    @app.post("/api/export")
    def export(pictures: Export) -> dict[str, Any]:
        return corrections.export(pictures.pictures, pictures.name)
