"""Results: conversion of raw outputs to parts, coordinates and vertices."""

from det_densepose.results.access import iuv, persons, raw_fields, vertices
from det_densepose.results.compressed import compress, decompress
from det_densepose.results.conversion import ChartResult, VertexResult, chart_result, vertex_result

__all__ = [
    "ChartResult",
    "VertexResult",
    "chart_result",
    "compress",
    "decompress",
    "iuv",
    "persons",
    "raw_fields",
    "vertex_result",
    "vertices",
]
