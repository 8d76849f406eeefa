"""The index of published models says what their publishers say."""

import gzip
import json
from pathlib import Path

import pytest
from det_core.zoo import published

FACTS = json.loads(gzip.decompress((Path(__file__).parents[1] / "reference" / "published.json.gz").read_bytes()))


def test_index_has_published_and_torchvision_configurations_only():
    assert {name for name in published.models() if not name.startswith("torchvision/")} == FACTS.keys()
    assert len(FACTS) == 188


@pytest.mark.parametrize("name", FACTS)
def test_model_has_published_weights_data_and_metrics(name):
    model, fact = published.models()[name], FACTS[name]
    assert (model.reported, model.data) == (fact["reported"], fact["data"])
    if fact["weights"] is None:
        assert model.weights is None
    else:
        assert model.weights == fact["weights"].strip()
