import pytest
from collect_samples import features_settings
from pydantic import ValidationError
from samples import ROOT

from fast_sae.features.settings import FeaturesSettings, features_record
from fast_sae.params import load_params, parse_section


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("window_tokens", 0),
        ("top_windows", 0),
        ("sampled_windows", 9),
        ("silent_windows", 0),
        ("pooled_examples", 0),
        ("min_token_count", 0),
        ("cofiring_rows", 0),
        ("logit_tokens", -1),
        ("seed", -1),
        ("neighbours", 1.5),
        ("windows", 3),
    ],
)
def test_what_makes_no_sense_is_refused(name, value):
    with pytest.raises(ValidationError, match=name):
        features_settings(**{name: value})


def test_nothing_listed_at_all_is_allowed():
    nothing = dict.fromkeys(("listed_tokens", "logit_tokens", "neighbours", "listed_labels"), 0)
    assert nothing.items() <= features_settings(**nothing).model_dump().items()


def test_the_record_is_that_of_the_sae_and_the_section():
    settings = parse_section(load_params(ROOT / "params.yaml"), "features", FeaturesSettings)
    record = features_record({"sae": {"K": 4}}, settings)
    assert record == {"sae": {"K": 4}, "features": settings.model_dump()}
