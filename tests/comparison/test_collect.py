"""What is read of a revision, in a repository of one commit."""

import pytest

from fast_sae.comparison.collect import read_varying
from fast_sae.comparison.experiments import git
from fast_sae.comparison.revision import Revision

TABLE = """kind,rows,mse,mse_macro,fvu,l0
trained,60,22.5,22.25,0.5,8
trained varying,50,24.5,24.25,0.75,7.5
special,6,0.5,0.625,0.25,8
special varying,1,3.5,{macro},0.875,8
"""
PATH = "metrics/plots/evaluate_sae/by_kind.csv"


@pytest.fixture
def commit(tmp_path, monkeypatch):
    """Commit a file and return the revision."""
    monkeypatch.chdir(tmp_path)
    git("init", "-q")

    def commit(path: str, text: str) -> Revision:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
        git("add", "-A")
        git("-c", "user.name=t", "-c", "user.email=t@example.invalid", "commit", "-qm", "one")
        return Revision("HEAD", git("rev-parse", "HEAD"))

    return commit


def test_the_scores_without_constant_rows_are_those_of_the_lines_that_vary(commit):
    assert read_varying(commit(PATH, TABLE.format(macro=3.25))) == {
        "evaluate.reconstruction_mse_varying": 24.5,
        "evaluate.mse_macro_varying": 24.25,
        "evaluate.l0_varying": 7.5,
        "evaluate.special_token_mse_varying": 3.25,
    }


def test_what_the_table_leaves_blank_or_lacks_is_not_made_up(commit):
    assert "evaluate.special_token_mse_varying" not in read_varying(commit(PATH, TABLE.format(macro="")))
    assert read_varying(commit(PATH, "kind,mse\ntrained,1\n")) == {}


def test_a_revision_without_the_table_has_none(commit):
    assert read_varying(commit("other.csv", "x")) == {}
