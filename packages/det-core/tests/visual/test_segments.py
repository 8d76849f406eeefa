"""Segments in words."""

import torch
from det_core.structures import PanopticMap, SemanticMap
from det_core.visual import in_words
from det_core.visual.segments import by_class


def test_in_words_counts_things_and_measures_stuff():
    ids = torch.full((10, 10), 3, dtype=torch.int32)
    ids[:2, :5], ids[:2, 5:] = 1, 2
    dogs = [{"id": n, "label": 0, "is_thing": True} for n in (1, 2)]
    segments = PanopticMap(ids=ids, segments=[*dogs, {"id": 3, "label": 1, "is_thing": False}])
    assert in_words(segments, ("dog", "sky")) == "sky 80 %, 2 dog"
    assert in_words(segments, ()) == "1 80 %, 2 0"
    nothing = PanopticMap(ids=torch.zeros(10, 10, dtype=torch.int32), segments=())
    assert in_words(nothing, ()) == "nothing found"


def test_by_class_semantic_map_gives_segment_per_class():
    logits = torch.zeros(3, 4, 4)
    logits[1, :2], logits[2, 2:] = 1, 1
    found = by_class(SemanticMap(logits=logits))
    assert [each["label"] for each in found.segments] == [1, 2]
    assert torch.bincount(found.ids.flatten()).tolist() == [0, 8, 8]
