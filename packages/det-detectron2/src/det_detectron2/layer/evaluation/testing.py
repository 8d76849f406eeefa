"""Results as text, and compared with expected ones, as `detectron2.evaluation.testing`."""

import logging
import pprint
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["flatten_results_dict", "print_csv_format", "verify_results"]


def print_csv_format(results: Mapping[str, Any]) -> None:
    """Log the main metrics of each task in a form for spreadsheets."""
    assert isinstance(results, Mapping), results
    logger = logging.getLogger(__name__)
    for task, output in results.items():
        if isinstance(output, Mapping):
            # Metrics of single classes have a hyphen in their names.
            main = [(name, value) for name, value in output.items() if "-" not in name]
            logger.info("copypaste: Task: %s", task)
            logger.info("copypaste: %s", ",".join(name for name, _ in main))
            logger.info("copypaste: %s", ",".join(f"{value:.4f}" for _, value in main))
        else:
            logger.info("copypaste: %s=%s", task, output)


def verify_results(cfg: Any, results: Mapping[str, Any]) -> bool:
    """Whether results are within TEST.EXPECTED_RESULTS, rows of task, metric, value and tolerance; exits if not."""
    expected = cfg.TEST.EXPECTED_RESULTS
    if not len(expected):
        return True
    right = True
    for task, metric, value, tolerance in expected:
        output = results[task].get(metric)
        right = right and output is not None and bool(np.isfinite(output)) and abs(output - value) <= tolerance
    logger = logging.getLogger(__name__)
    if right:
        logger.info("Results verification passed.")
        return True
    logger.error("Result verification failed: expected %s, found %s", expected, pprint.pformat(results))
    sys.exit(1)


def flatten_results_dict(results: Mapping[str, Any]) -> dict[str, Any]:
    """A tree as one mapping, with names joined by slashes."""
    from det_detectron2.layer.engine.hooks import flatten_results_dict as flatten

    return flatten(results)
