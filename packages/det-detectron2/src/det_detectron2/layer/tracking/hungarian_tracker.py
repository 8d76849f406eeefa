"""Trackers by an assignment of least cost, as `detectron2.tracking.hungarian_tracker`."""

from typing import Any

import numpy as np
from det_core.errors import MissingExtraError

from det_detectron2.layer.structures import Instances
from det_detectron2.layer.tracking._common import BoxTracker

__all__ = ["BaseHungarianTracker"]


class BaseHungarianTracker(BoxTracker):
    """Assigns the objects of a frame to those before at minimum cost; subclasses give `build_cost_matrix`."""

    def build_cost_matrix(self, instances: Instances, prev_instances: Instances) -> Any:
        """(N, M): the cost of each pair."""
        raise NotImplementedError("Not implemented build_matrix function")

    def update(self, predictions: Instances) -> Instances:
        """The instances of the next frame, with their IDs."""
        instances = self._initialize_extra_fields(predictions)
        if self._prev_instances is not None:
            self._untracked_prev_idx = set(range(len(self._prev_instances)))
            cost = self.build_cost_matrix(instances, self._prev_instances)
            rows, columns = _assigned(cost)
            instances = self._process_matched_idx(instances, rows, columns)
            instances = self._process_unmatched_idx(instances, rows)
            instances = self._process_unmatched_prev_idx(instances, columns)
        self._prev_instances = instances
        return instances

    def _process_matched_idx(self, instances: Instances, matched_idx: Any, matched_prev_idx: Any) -> Instances:
        """Give those that are matched the ID of their object."""
        assert len(matched_idx) == len(matched_prev_idx)
        before: Any = self._prev_instances
        for place, earlier in zip(matched_idx, matched_prev_idx, strict=True):
            instances.ID[place] = before.ID[earlier]
            instances.ID_period[place] = before.ID_period[earlier] + 1
            instances.lost_frame_count[place] = 0
        return instances

    def _process_unmatched_idx(self, instances: Instances, matched_idx: Any) -> Instances:
        """Number those that are not matched."""
        for place in sorted(set(range(len(instances))) - {int(each) for each in matched_idx}):
            instances.ID[place] = self._id_count
            self._id_count += 1
            instances.ID_period[place], instances.lost_frame_count[place] = 1, 0
        return instances

    def _process_unmatched_prev_idx(self, instances: Instances, matched_prev_idx: Any) -> Instances:
        """Keep the objects before that are not matched, as far as they are to be kept."""
        before: Any = self._prev_instances
        return self._keep(instances, sorted(set(range(len(before.ID))) - {int(each) for each in matched_prev_idx}))


def _assigned(cost: Any) -> tuple[Any, Any]:
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError as error:
        raise MissingExtraError(
            "detectron2.tracking", "needs SciPy, which is not installed", fix="pip install scipy"
        ) from error
    rows, columns = linear_sum_assignment(np.asarray(cost))
    good = np.asarray(cost)[rows, columns] < 0
    return rows[good], columns[good]
