"""ProposalRecall: figures worked out by hand."""

import pytest
import torch
from det_core.contracts import Evaluator
from det_core.errors import ConfigError, DataError, StructureError
from det_core.structures import Prediction, Proposals, Sample, Targets
from det_datasets.evaluators import ProposalRecall

A, B = [10.0, 10.0, 50.0, 50.0], [100.0, 100.0, 300.0, 300.0]  # medium, large


def sample(boxes: list[list[float]], id: int = 1, **fields: torch.Tensor) -> Sample:
    labels = torch.zeros(len(boxes), dtype=torch.int64)
    targets = Targets(boxes=torch.tensor(boxes).reshape(-1, 4), labels=labels, **fields)
    return Sample(image=torch.zeros((3, 400, 400), dtype=torch.uint8), targets=targets, id=id)


def prediction(boxes: list[list[float]], logits: list[float] | None = None) -> Prediction:
    values = torch.tensor(logits or [0.0] * len(boxes))
    return Prediction(proposals=Proposals(boxes=torch.tensor(boxes).reshape(-1, 4), logits=values))


def judged(*pairs: tuple[Prediction, Sample], limits: tuple[int, ...] = (100,)) -> dict[str, float]:
    evaluator = ProposalRecall(("thing",), limits)
    for guess, truth in pairs:
        evaluator.update(guess, truth)
    return evaluator.result()


def test_it_is_an_evaluator() -> None:
    assert isinstance(ProposalRecall(("a",)), Evaluator)


def test_recall_by_area_counts_covered_objects() -> None:
    figures = judged((prediction([A, B]), sample([A, B])))
    assert figures == {f"proposals/{name}@100": 1.0 for name in ("AR", "ARm", "ARl")}


def test_recall_is_the_mean_over_overlaps() -> None:
    # 40 x 40 moved by 4: 36 / 44 = 0.818: 7 of 10 thresholds, of one of two objects.
    figures = judged((prediction([[14, 10, 54, 50]]), sample([A, B])))
    assert figures["proposals/AR@100"] == pytest.approx(0.35)
    assert figures["proposals/ARm@100"] == pytest.approx(0.7)
    assert figures["proposals/ARl@100"] == 0.0


def test_recall_counts_best_proposals_up_to_limit() -> None:
    figures = judged((prediction([A, B], [0.1, 5.0]), sample([A])), limits=(1, 2))
    assert figures["proposals/AR@1"] == 0.0
    assert figures["proposals/AR@2"] == 1.0


def test_proposal_matches_only_its_best_object() -> None:
    other = [14.0, 10.0, 54.0, 50.0]
    assert judged((prediction([A]), sample([other, A])))["proposals/AR@100"] == 0.5
    # The better pair is made first: the second object is left with what is beside it.
    assert judged((prediction([A, other]), sample([other, A])))["proposals/AR@100"] == 1.0


def test_crowds_do_not_count_and_sizes_are_as_annotated() -> None:
    truth = sample([A, B], crowd=torch.tensor([False, True]), areas=torch.tensor([900.0, 1e4]))
    assert judged((prediction([A]), truth)) == {"proposals/AR@100": 1.0, "proposals/ARs@100": 1.0}


def test_missing_areas_have_notes() -> None:
    evaluator = ProposalRecall(("thing",))
    assert evaluator.result() == {}
    assert evaluator.notes["proposals/AR@100"] == "no image was evaluated"
    evaluator.update(prediction([]), sample([A]))
    assert evaluator.result()["proposals/AR@1000"] == 0.0
    assert evaluator.notes["proposals/ARs@100"] == "the ground truth has no small object"


def test_invalid_inputs_are_refused() -> None:
    evaluator = ProposalRecall(("thing",))
    with pytest.raises(
        StructureError, match="its prediction has no proposals; this evaluator is for proposal networks"
    ):
        evaluator.update(Prediction(), sample([A]))
    with pytest.raises(DataError, match="has no annotations to evaluate on"):
        evaluator.update(prediction([A]), Sample(image=torch.zeros((3, 8, 8), dtype=torch.uint8)))
    with pytest.raises(ConfigError, match="limits"):
        ProposalRecall(("thing",), limits=())


def test_merge_of_two_processes_equals_one() -> None:
    pairs = [(prediction([A]), sample([A, B], 1)), (prediction([B]), sample([A], 2))]
    halves = [ProposalRecall(("thing",)) for _ in pairs]
    for half, pair in zip(halves, pairs, strict=True):
        half.update(*pair)
    joined = ProposalRecall(("thing",))
    joined.merge([half.state() for half in halves])
    assert joined.result() == judged(*pairs, limits=(100, 1000))
