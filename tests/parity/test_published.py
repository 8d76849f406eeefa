"""The index of published models says what their publishers say."""

import gzip
import json
from pathlib import Path

import pytest
from det_core.zoo import published

FACTS = json.loads(gzip.decompress((Path(__file__).parents[1] / "reference" / "published.json.gz").read_bytes()))


def test_every_published_configuration_is_in_the_index_and_no_other_but_those_of_torchvision():
    assert {name for name in published.models() if not name.startswith("torchvision/")} == FACTS.keys()
    assert len(FACTS) == 188


@pytest.mark.parametrize("name", FACTS)
def test_a_model_has_the_weights_the_data_and_the_figures_as_published(name):
    model, fact = published.models()[name], FACTS[name]
    assert (model.reported, model.data) == (fact["reported"], fact["data"])
    if fact["weights"] is None:
        assert model.weights is None
    else:
        assert model.weights == fact["weights"].strip()
