"""What rounding decides is no difference; all else is."""

from dataclasses import replace

import pytest
import torch
from det_devkit.conformance.modules import predicted, require_same_but_for_ties
from det_devkit.conformance.report import Failed
from det_devkit.conformance.subject import Subject
from det_devkit.conformance.synthetic import scene
from det_devkit.conformance.tables import ROLES
from det_devkit.conformance.ties import nearly, resolve_ties
from torch import nn


class Peaks(nn.Module):
    """A region head of one keypoint per detection, at the highest of three places of a row of pixels."""

    contract = "RegionHead"

    def __init__(self, heights: tuple[float, float, float] = (1.0, 1.0, 0.5)) -> None:
        super().__init__()
        self.heights = nn.Parameter(torch.tensor(heights))

    def losses(self, features, proposals, targets):
        return {"loss_peak": self.heights.sum()}

    def predict(self, features, detections):
        height, place = self.heights.max(dim=0)
        point = torch.stack((3.0 * place, torch.zeros(()), height))
        return [replace(own, keypoints=point.expand(len(own), 1, 3).clone()) for own in detections]


def judge(heights, places):
    """Compare the head with answers that are its own, but for the column of the keypoint of each detection."""
    subject = Subject("heads", "peaks", lambda: Peaks, ROLES["heads"], example={"heights": heights})
    module = subject.make()
    inputs = subject.role.inputs(module, scene())
    found = predicted(subject, module, inputs)
    for rows in found:
        rows["keypoints"][:, 0, 0] = torch.tensor(places)
    require_same_but_for_ties(subject, module, inputs, found, "it differs", 1e-3, "mend it")


def test_of_two_equal_peaks_either_may_be_taken():
    judge((1.0, 1.0, 0.5), [0.0, 3.0, 0.0, 3.0, 3.0, 3.0])


def test_point_without_peak_is_reported_beside_ties():
    with pytest.raises(Failed, match=r"it differs: of image 0, 'keypoints' differs by up to 6"):
        judge((1.0, 1.0, 0.5), [0.0, 3.0, 6.0, 3.0, 0.0, 0.0])


def test_lower_peak_beyond_rounding_is_reported():
    with pytest.raises(Failed, match=r"'keypoints' differs by up to 3"):
        judge((1.0, 0.9999, 0.5), [0.0, 0.0, 0.0, 0.0, 0.0, 3.0])


def test_column_between_two_peaks_is_reported():
    with pytest.raises(Failed, match=r"'keypoints' differs by up to 1\.5"):
        judge((1.0, 1.0, 0.5), [1.5] * 6)


def test_perturbed_weights_leave_module_unchanged():
    module = nn.Linear(3, 2)
    before = module.weight.detach().clone()
    for other in nearly(module, 1e-3):
        assert not torch.equal(other.weight, before)
        torch.testing.assert_close(other.weight, before, rtol=1e-5, atol=0)
    assert torch.equal(module.weight, before)


def test_answers_of_another_form_are_left_as_they_are():
    expected, found = [{"a": torch.zeros(2)}], [{"a": torch.zeros(3), "b": torch.ones(1)}]
    assert resolve_ties(expected, found, iter([expected]), 1e-3)[0].keys() == {"a", "b"}
    assert resolve_ties(expected, found, iter([expected]), 1e-3)[0]["a"].shape == (3,)
