"""Answers of requests: pictures are read, decoded and converted in threads, independently of each other."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from det_core.errors import DataError, DetError
from det_core.predict import Result
from fastapi import Request, Response
from starlette.datastructures import UploadFile

from det_export.serve import answers
from det_export.serve.metrics import Metrics
from det_export.serve.pictures import Source, decode
from det_export.serve.served import ServedModel
from det_export.serve.settings import Limits, RefusedError
from det_export.serve.urls import download

__all__ = ["Predictor"]

T = TypeVar("T")
_log = logging.getLogger("det.serve")
_DECODERS, _DOWNLOADS = 4, 8


class Predictor:
    """Answers requests.

    Args:
        limits: bounds on sizes, times and queues.
        metrics: counters that the page of metrics shows.
        allowed: function that decides whether downloads from an IP address are permitted; None refuses all URLs.
    """

    def __init__(self, limits: Limits, metrics: Metrics, allowed: Callable[[str], bool] | None) -> None:
        self._limits, self._metrics, self._allowed = limits, metrics, allowed
        self._decoders = ThreadPoolExecutor(_DECODERS, "det-serve-decode")
        self._downloads = ThreadPoolExecutor(_DOWNLOADS, "det-serve-download")

    def close(self) -> None:
        """End the threads."""
        for pool in (self._decoders, self._downloads):
            pool.shutdown(wait=False, cancel_futures=True)

    async def answer(
        self, request: Request, model: ServedModel, form: str, threshold: float | None, limit: int
    ) -> Response:
        """The predictions for all pictures of a request; RefusedError lists the errors of all of them."""
        sources = await self._sources(request)
        if form == "png" and len(sources) > 1:
            raise RefusedError(422, [f"format: png is for one picture; got {len(sources)}"])
        level = model.detector.threshold if threshold is None else threshold

        async def part(number: int, source: Source) -> Any:
            content = source.content
            if content is None:
                content = await self._download(source.address)
            async with model.places:
                image = await _in(self._decoders, decode, content, source.name, self._limits.pixels)
                result = await model.predict(image)
                return await _in(self._decoders, _converted, result.filtered(level, limit=limit), form, number, source)

        with model.admitted(len(sources)):
            tasks = [asyncio.ensure_future(part(*each)) for each in enumerate(sources)]
            parts = await self._unless_gone(request, tasks)
        if form == "png":
            return Response(parts[0], media_type=answers.MEDIA_TYPES[form])
        if form == "npz":
            content = await _in(self._decoders, answers.npz, parts)
        else:
            content = answers.coco(model.name, parts)
        return Response(content, media_type=answers.MEDIA_TYPES[form])

    async def _sources(self, request: Request) -> list[Source]:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "multipart/form-data":
            form = await request.form(max_files=self._limits.pictures + 1, max_fields=16)
            files = [each for _, each in form.multi_items() if isinstance(each, UploadFile)]
            sources = [Source(each.filename or "picture", await each.read()) for each in files]
        elif kind == "application/json":
            sources = await self._addresses(request)
        else:  # of any type: `curl --data-binary` calls it a form
            sources = [Source("picture", await request.body())]
        if not sources or sources[0].content == b"":
            raise RefusedError(400, ["the body has no picture; send the bytes of a file, or a form with files"])
        if len(sources) > self._limits.pictures:
            raise RefusedError(413, [f"a request takes {self._limits.pictures} pictures; got {len(sources)}"])
        return sources

    async def _addresses(self, request: Request) -> list[Source]:
        if self._allowed is None:
            raise RefusedError(403, ["this server takes no URLs; send the file, or start it with --urls"])
        try:
            content = await request.json()
        except (ValueError, RecursionError) as error:
            raise RefusedError(400, [f"the body is no JSON: {error}"]) from error
        listed = content.get("urls") if isinstance(content, dict) else content
        if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
            raise RefusedError(422, ['the body must be a list of URLs, or {"urls": [...]}'])
        return [Source(each, address=each) for each in listed]

    async def _download(self, address: str) -> bytes:
        assert self._allowed is not None
        limits = self._limits
        try:
            return await _in(self._downloads, download, address, limits.upload_bytes, limits.url_seconds, self._allowed)
        except DataError as error:
            raise RefusedError(422, [str(error)]) from error

    async def _unless_gone(self, request: Request, tasks: Sequence["asyncio.Future[Any]"]) -> list[Any]:
        """The results of all tasks; cancels them when the client leaves."""
        gone: asyncio.Future[Any] = asyncio.ensure_future(request.receive())
        together: asyncio.Future[list[Any]] = asyncio.gather(*tasks, return_exceptions=True)
        try:
            await asyncio.wait([together, gone], return_when=asyncio.FIRST_COMPLETED)
            if not together.done():
                self._metrics.gone.inc()
                raise RefusedError(499, ["the client left"])
            return _require(together.result())
        finally:
            gone.cancel()
            for each in tasks:
                each.cancel()
            await asyncio.gather(together, gone, return_exceptions=True)


def _converted(result: Result, form: str, number: int, source: Source) -> Any:
    if form == "png":
        return answers.to_png(result)
    return answers.arrays_of(result) if form == "npz" else answers.entries_of(result, number, source.name)


def _require(results: Sequence[Any]) -> list[Any]:
    """The results; RefusedError with the errors of all that failed."""
    failed = [each for each in results if isinstance(each, BaseException)]
    refused = [each for each in failed if isinstance(each, RefusedError)]
    for each in failed:
        if isinstance(each, DetError):
            refused.append(RefusedError(422, [str(each)]))
        elif not isinstance(each, RefusedError):
            _log.error("a picture failed", exc_info=each)
            refused.append(RefusedError(500, [f"the model failed: {type(each).__name__}; the log has more"]))
    if refused:
        errors = [problem for each in refused for problem in each.errors]
        raise RefusedError(max(each.status for each in refused), errors, refused[0].headers)
    return list(results)


async def _in(pool: ThreadPoolExecutor, function: Callable[..., T], *arguments: Any) -> T:
    return await asyncio.get_running_loop().run_in_executor(pool, function, *arguments)
