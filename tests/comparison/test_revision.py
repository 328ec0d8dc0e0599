"""What a user may call a revision, in a repository of two commits, and what it holds."""

from pathlib import Path

import pytest

from fast_sae.comparison.experiments import git
from fast_sae.comparison.revision import Revision, find_revision
from fast_sae.errors import UserError


@pytest.fixture
def commits(tmp_path, monkeypatch) -> tuple[str, str]:
    """Two commits of metrics; an experiment `wide` of the second, and one `twice` of each."""
    monkeypatch.chdir(tmp_path)
    git("init", "-q", "-b", "main")
    made = []
    for number in ("1", "2"):
        for name in ("metrics/b.json", "metrics/a.json", "metrics/plots/c.csv"):
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text(number)
        git("add", "-A")
        git("-c", "user.name=t", "-c", "user.email=t@example.invalid", "commit", "-qm", number)
        made.append(git("rev-parse", "HEAD"))
        git("update-ref", f"refs/exps/{made[-1][:2]}/{made[-1][2:]}/twice", made[-1])
    git("tag", "first", made[0])
    git("update-ref", f"refs/exps/{made[1][:2]}/{made[1][2:]}/wide", made[0])
    return made[0], made[1]


@pytest.mark.parametrize(
    ("asked", "which"), [("main", 1), ("HEAD~1", 0), ("first", 0), ("refs/heads/main", 1), ("wide", 0)]
)
def test_commits_branches_tags_and_experiments_are_found(commits, asked, which):
    assert find_revision(asked) == Revision(asked, commits[which])
    assert find_revision(commits[which][:8]).commit == commits[which]


def test_what_git_holds_is_read_and_the_workspace_as_it_lies(commits):
    Path("metrics/a.json").write_text("3")
    read = {asked: find_revision(asked) for asked in ("first", "main", "workspace")}
    assert [one.text("metrics/a.json") for one in read.values()] == ["1", "2", "3"]
    for one in read.values():
        assert one.names("metrics") == ["metrics/a.json", "metrics/b.json", "metrics/plots"]
        assert (one.names("nothing"), one.text("metrics/none.json")) == ([], None)


@pytest.mark.parametrize(
    "asked", ["nosuch", "", "--all", "-1", "HEAD~7", "main:metrics", "a b", "$(x)", "\u202e", "main\n"]
)
def test_what_is_no_revision_is_told_in_one_line(commits, asked):
    with pytest.raises(UserError, match="is no revision, branch, tag or experiment of this repository") as caught:
        find_revision(asked)
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).isprintable()


def test_an_experiment_of_two_commits_must_be_told_apart(commits):
    with pytest.raises(UserError, match=r"^2 experiments are called twice; name one by its revision"):
        find_revision("twice")


def test_outside_a_repository_git_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(UserError, match="not a git repository"):
        find_revision("main")
