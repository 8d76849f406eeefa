from collections.abc import Sequence

import pytest
import torch
from det_core.errors import ConfigError
from det_core.structures import Detections, Prediction
from det_video.counting import CountingLine, Zone
from det_video.stream import FrameResult
from det_video.tracking import TRACK_ID


def frame(places: dict[int, tuple[float, float]], time: float = 0.0, tracked: bool = True) -> FrameResult:
    """Objects of 2 x 2 pixels whose lower middles are at these places, by their numbers."""
    boxes = torch.tensor([[x - 1, y - 2, x + 1, y] for x, y in places.values()]).reshape(-1, 4)
    detections = Detections(
        boxes=boxes,
        labels=torch.zeros(len(boxes), dtype=torch.int64),
        scores=torch.ones(len(boxes)),
        size=(100, 100),
        extras={TRACK_ID: torch.tensor(list(places), dtype=torch.int64)} if tracked else {},
    )
    image = torch.zeros(3, 100, 100, dtype=torch.uint8)
    return FrameResult(image, Prediction(detections=detections), ["car"], [1], time=time)


def counts(line: CountingLine, *places: tuple[float, float]) -> tuple[int, int]:
    for place in places:
        line.update(frame({7: place}))
    return line.forward["car"], line.backward["car"]


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([(40, 50), (60, 50)], (0, 1)),  # a line upwards: left to right is from its left
        ([(60, 50), (40, 50)], (1, 0)),
        ([(40, 50), (60, 50), (40, 50)], (1, 1)),
        ([(40, 95), (60, 95)], (0, 0)),  # past the end of the segment
        ([(40, 50), (45, 50)], (0, 0)),
        ([(60, 50)], (0, 0)),
    ],
)
def test_line_counts_crossings_by_direction(places: Sequence, expected: tuple):
    # Downwards on the screen: what is at smaller x is to its right.
    assert counts(CountingLine((50, 10), (50, 90)), *places) == expected


def test_line_counts_an_object_that_stops_on_it_once():
    assert counts(CountingLine((50, 10), (50, 90)), (60, 50), (50, 50), (50, 50), (40, 50)) == (1, 0)


def test_line_follows_objects_across_missing_frames():
    line = CountingLine((50, 10), (50, 90))
    line.update(frame({1: (60, 50), 2: (40, 20)}))
    line.update(frame({2: (41, 20)}))
    assert line.update(frame({1: (40, 50), 2: (42, 20)})) == [1]


def test_zone_has_known_dwell_times():
    zone = Zone([(10, 10), (50, 10), (50, 50), (10, 50)])
    assert zone.update(frame({1: (20, 20), 2: (80, 80)}, 0.0)) == {1}
    assert zone.update(frame({1: (30, 20), 2: (40, 40)}, 0.5)) == {1, 2}
    assert zone.update(frame({1: (80, 20), 2: (40, 40)}, 2.0)) == {2}
    assert zone.dwell == {1: 0.5, 2: 1.5}
    assert zone.visitors == {"car": 2}


def test_zone_of_concave_polygon_excludes_its_notch():
    zone = Zone([(0, 0), (60, 0), (60, 60), (30, 20), (0, 60)])
    assert zone.update(frame({1: (30, 50), 2: (5, 40), 3: (30, 10)})) == {2, 3}


def test_counting_refuses_untracked_objects_and_wrong_shapes():
    with pytest.raises(ConfigError, match="not tracked"):
        Zone([(0, 0), (1, 0), (1, 1)]).update(frame({1: (0, 0)}, tracked=False))
    with pytest.raises(ConfigError, match="three or more"):
        Zone([(0, 0), (1, 1)])
    with pytest.raises(ConfigError, match="must differ"):
        CountingLine((1, 1), (1, 1))
    with pytest.raises(ConfigError, match="anchor"):
        CountingLine((0, 0), (1, 1), anchor="top").update(frame({1: (0, 0)}))
