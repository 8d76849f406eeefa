"""Proposals from a file follow their images to the model."""

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from det_core.data import CocoDataset, FixedSizeCrop, compose
from det_core.data.loading.loader import EvalLoader, TrainLoader
from det_core.engine import evaluate, train
from det_core.errors import ConfigError, DataError, StructureError
from det_core.recipes import recipe_from_tree
from det_core.structures import Prediction, Proposals, Sample
from det_datasets.around import ConcatDataset, ProposalWriter, WithProposals, write_proposals
from det_devkit import coco_files
from torchvision.transforms import v2


def given(*rows: tuple[float, ...]) -> Proposals:
    values = torch.tensor(rows).reshape(-1, 5)
    return Proposals(boxes=values[:, :4], logits=values[:, 4])


FOUND: dict[int | str, Proposals] = {
    13: given((0, 0, 5, 5, 0.1), (2, 3, 12, 8, 2.0), (3, 3, 13, 9, 1.0)),
    11: given(),
    12: given((2, 3, 12, 8, 1.5), (30, 20, 40, 30, -1.0)),
}


def dataset(folder: Path, top: int = 1000, found: Any = FOUND) -> WithProposals:
    coco = CocoDataset(*coco_files.write(folder, coco_files.content()))
    write_proposals(folder / "p.npz", found)
    return WithProposals(coco, folder / "p.npz", top)


def test_each_sample_brings_its_best_proposals_best_first(tmp_path: Path) -> None:
    data = dataset(tmp_path, top=2)
    assert data.classes == ("dog", "cat")
    assert [len(data[index].proposals or ()) for index in range(3)] == [0, 2, 2]
    best = data[2].proposals
    assert best is not None
    assert best.boxes.tolist() == [[2, 3, 12, 8], [3, 3, 13, 9]]
    assert best.logits.tolist() == [2.0, 1.0]
    assert (data.category_ids, data.size_of(0), list(data.labels_of(1))) == ((3, 7), (30, 40), [1])  # type: ignore[attr-defined]


def test_proposals_follow_flips_resizes_and_crops() -> None:
    sample = Sample(image=torch.zeros(3, 30, 40, dtype=torch.uint8), proposals=FOUND[12])
    flipped = compose([v2.RandomHorizontalFlip(1.0), v2.Resize((60, 80))])(sample).proposals
    assert flipped is not None
    assert flipped.boxes.tolist() == [[56, 6, 76, 16], [0, 40, 20, 60]]
    torch.manual_seed(0)
    window = compose([FixedSizeCrop((24, 40), pad_value=None), v2.CenterCrop((10, 20))])
    cropped = window(replace(sample, proposals=given((0, 0, 40, 30, 1.0), (0, 0, 3, 3, 2.0)))).proposals
    assert cropped is not None
    assert (cropped.boxes.tolist(), cropped.logits.tolist()) == ([[0, 0, 20, 10]], [1.0])


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_hand_them_to_the_model(tmp_path: Path, workers: int) -> None:
    data = dataset(tmp_path)
    for batch in islice(TrainLoader(dataset=data, batch_size=2, workers=workers), 3):
        assert batch.images.proposals is not None
        assert [len(each) for each in batch.images.proposals] == [len(FOUND[i]) for i in batch.ids]
        assert all(isinstance(each.boxes, torch.Tensor) for each in batch.images.proposals)
    (batch,) = EvalLoader(dataset=data, batch_size=8, workers=workers)
    assert batch.images.proposals is not None
    assert batch.images.proposals[2].logits.tolist() == pytest.approx([2.0, 1.0, 0.1])


def test_what_a_proposal_network_finds_is_written_and_read_again(tmp_path: Path) -> None:
    writers = [ProposalWriter(("a",), tmp_path / "w.npz") for _ in range(2)]
    for number, (image_id, found) in enumerate(FOUND.items()):
        sample = Sample(image=torch.zeros(3, 30, 40, dtype=torch.uint8), id=image_id)
        writers[number % 2].update(Prediction(proposals=found), sample)
    writers[0].merge([writer.state() for writer in writers])
    assert writers[0].result() == {"proposals/per_image": 5 / 3}
    coco = CocoDataset(*coco_files.write(tmp_path, coco_files.content()))
    again = WithProposals(coco, tmp_path / "w.npz")[1].proposals
    assert again is not None
    assert torch.equal(again.boxes, FOUND[12].boxes)
    with pytest.raises(StructureError, match="its prediction has no proposals"):
        writers[0].update(Prediction(), sample)


def recipe(folder: Path, **model: Any) -> dict[str, Any]:
    images, annotations = coco_files.write(folder, coco_files.content())
    coco = {"type": "coco", "images": str(images), "annotations": str(annotations)}
    backbone = {"type": "resnet", "depth": 18, "out_features": ["res4"], "res2_channels": 8, "stem_channels": 8}
    return {
        "model": {"backbone": backbone, "num_classes": 2, **model},
        "data": {"train": coco, "val": coco, "workers": 0},
        "train": {
            "steps": 2,
            "batch_size": 2,
            "optimizer": {"type": "torch.optim:SGD", "lr": 0.001},
            "device": "cpu",
        },
    }


def test_fast_rcnn_trains_and_is_judged_on_what_an_rpn_wrote(tmp_path: Path) -> None:
    tree = recipe(tmp_path, type="proposal_network")
    file = str(tmp_path / "rpn.npz")
    tree["data"]["evaluators"] = [{"type": "det_datasets.around:ProposalWriter", "file": file}]
    rpn = recipe_from_tree(tree, "rpn")
    data = rpn.build("data")
    found = evaluate(rpn.build_model(), data.eval_loader("val", 2), data.build_evaluators("val"))
    assert found.metrics["proposals/per_image"] > 0
    tree = recipe(tmp_path, type="faster_rcnn", proposal_generator=None)
    for split in ("train", "val"):
        coco = tree["data"][split]
        tree["data"][split] = {"type": "det_datasets.around:WithProposals", "dataset": coco, "file": file, "top": 20}
    outcome = train(recipe_from_tree(tree, "fast"), tmp_path / "run")
    assert outcome.finished
    assert "bbox/AP" in outcome.metrics


def test_a_recipe_without_proposals_says_what_is_missing(tmp_path: Path) -> None:
    tree = recipe(tmp_path, type="faster_rcnn", proposal_generator=None)
    with pytest.raises(StructureError, match=r"proposals: are needed.*name a dataset that brings them along"):
        train(recipe_from_tree(tree, "fast"), tmp_path / "run")


def test_files_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"p.npz: holds no proposals for image 12"):
        dataset(tmp_path, found={11: given(), 120: given()})[1]
    with pytest.raises(DataError, match=r"p.npz: holds no proposals for image 11"):
        dataset(tmp_path, found={"11": given()})[0]
    coco = CocoDataset(*coco_files.write(tmp_path, coco_files.content()))
    with pytest.raises(ConfigError, match=r"x.pkl: pickles of proposals are not read directly; turn it"):
        WithProposals(coco, tmp_path / "x.pkl")
    with pytest.raises(DataError, match=r"no.npz: there is no such file of proposals"):
        WithProposals(coco, tmp_path / "no.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "p.npz").read_bytes()[:100])
    with pytest.raises(DataError, match=r"cut.npz: cannot be read as a file of proposals"):
        WithProposals(coco, tmp_path / "cut.npz")
    sound = {"ids": np.array([11]), "counts": np.array([1]), "boxes": np.zeros((1, 4)), "logits": np.zeros(1)}
    for change, sentence in [
        ({"counts": np.array([2])}, "its arrays do not belong together"),
        ({"ids": np.array([11, 11]), "counts": np.array([1, 0])}, "holds an image twice"),
        ({"boxes": np.full((1, 4), np.nan)}, "not finite"),
        ({"boxes": np.array([[object()] * 4])}, "cannot be read as a file of proposals"),
    ]:
        np.savez(tmp_path / "bad.npz", **(sound | change))
        with pytest.raises(DataError, match=sentence):
            WithProposals(coco, tmp_path / "bad.npz")
    np.savez(tmp_path / "bad.npz", ids=np.array([1]))
    with pytest.raises(DataError, match="it has no array 'counts'"):
        WithProposals(coco, tmp_path / "bad.npz")


def test_proposal_writer_second_image_of_an_id_is_refused(tmp_path: Path) -> None:
    sample = CocoDataset(*coco_files.write(tmp_path, coco_files.content(1)))[0]
    writer = ProposalWriter(["x"], tmp_path / "p.npz")
    found = Prediction(proposals=Proposals(boxes=torch.zeros(0, 4), logits=torch.zeros(0)))
    writer.update(found, sample)
    with pytest.raises(DataError, match="has an id that another image has too"):
        writer.update(found, sample)


def test_proposals_around_concat_keep_its_weights(tmp_path: Path) -> None:
    coco = CocoDataset(*coco_files.write(tmp_path, coco_files.content()))
    write_proposals(tmp_path / "p.npz", FOUND)
    weighted: Any = WithProposals(ConcatDataset([coco, coco], [2, 1]), tmp_path / "p.npz")
    seen = weighted.sampler(0).epoch(0)
    assert (sum(seen < 3), sum(seen >= 3)) == (4, 2)
