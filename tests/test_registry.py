from importlib.metadata import entry_points

import pytest
from spacy.language import Language
from spacy.util import registry

GROUPS = {
    "spacy_factories": registry._entry_point_factories,
    "spacy_architectures": registry.architectures,
    "spacy_callbacks": registry.callbacks,
    "spacy_cli": registry.cli,
    "thinc_optimizers": registry.optimizers,
}
POINTS = [
    point
    for group in GROUPS
    for point in entry_points(group=group)
    if point.value.startswith("spacy_rnn.")
]


@pytest.mark.parametrize("point", POINTS, ids=[point.name for point in POINTS])
def test_every_entry_point_resolves(point):
    function = GROUPS[point.group].get(point.name)
    assert function is point.load()
    if point.group == "spacy_factories":
        assert Language.get_factory_meta(point.name).factory == point.name


def test_every_public_name_has_an_entry_point():
    names = {point.name for point in POINTS}
    registries = (registry.architectures, registry.callbacks, registry.optimizers)
    known = {name for group in registries for name in group.get_all()}
    ours = {name for name in known if name.startswith("spacy-rnn.")}
    assert ours <= names
    assert {"rnn_tagger", "spacy-rnn.RNNEncoder.v1", "spacy-rnn.LexemeEmbed.v1", "rnn"} <= names
