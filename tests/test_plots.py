"""DVC's pictures: what dvc.yaml declares can be drawn, of one revision and of two, and its page needs no network."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import vl_convert
import yaml
from dvc_render import VegaRenderer
from offline_plots import VEGA_LITE, left_out, page, specifications
from samples import ROOT

from fast_sae.comparison.measures import MEASURES

TEMPLATES = ROOT / ".dvc/plots"
OF_EARLIER_COMMITS = {"bar_with_interval"}
"""DVC seeks the template that an old commit names in the working tree, so a template is never removed or renamed."""
HOSTILE = "</script><script>document.title='run'</script><img src=x onerror=\"document.title='run'\">"


def declared() -> dict[str, dict]:
    """The file of each picture, its columns and template, as DVC would read them, by its name."""
    config = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    found = {}
    for plot in (plot for stage in config["stages"].values() for plot in stage.get("plots", [])):
        ((path, options),) = plot.items()
        for file in sorted((ROOT / path).glob("*.csv")) or [ROOT / path]:
            found[str(file.relative_to(ROOT))] = {"y": file.stem, **options, "file": file}
    for plot in config["plots"]:
        ((name, options),) = plot.items()
        ((path, column),) = options["y"].items()
        found[name] = options | {"y": column, "file": ROOT / path}
    return found


PLOTS = declared()


def rows_of(file: Path, rev: str) -> list[dict]:
    with file.open(newline="") as lines:
        return [{**row, "rev": rev} for row in csv.DictReader(lines)]


def specification(name: str, rows: list[dict], **changed: str) -> dict:
    """What DVC's own renderer makes of some rows."""
    options = {key: value for key, value in PLOTS[name].items() if key not in ("file", "cache")}
    return VegaRenderer(rows, name, template_dir=str(TEMPLATES), **options | changed).get_filled_template()


def drawn(spec: dict, capfd) -> str:
    svg = vl_convert.vegalite_to_svg(spec, VEGA_LITE, show_warnings=True)
    assert capfd.readouterr().err == ""
    return svg


def marks_of(svg: str, rev: str) -> int:
    return len(re.findall(rf'aria-label="[^"]*rev: {rev}["; ]', svg))


def fields_of(spec: object) -> set[str]:
    """The columns that an encoding or a fold names."""
    if isinstance(spec, list):
        return {field for part in spec for field in fields_of(part)}
    if not isinstance(spec, dict):
        return set()
    inner = fields_of([value for key, value in spec.items() if key != "values"])
    return inner | {field.replace("\\", "") for field in [spec.get("field"), *spec.get("fold", [])] if field}


def made_by(spec: dict) -> set[str]:
    """The columns that the template's own transforms make."""
    made = [step["as"] for step in spec.get("transform", []) if "as" in step]
    return {name for one in made for name in ([one] if isinstance(one, str) else one)}


@pytest.fixture(params=PLOTS)
def name(request) -> str:
    return request.param


def test_every_template_is_named_by_a_picture_or_by_earlier_commits():
    named = {options["template"] for options in PLOTS.values()}
    assert named | OF_EARLIER_COMMITS == {path.stem for path in TEMPLATES.glob("*.json")}
    assert not named & OF_EARLIER_COMMITS


def test_a_picture_names_columns_that_its_file_has(name):
    spec = specification(name, rows_of(PLOTS[name]["file"], "one"))
    columns = set(rows_of(PLOTS[name]["file"], "one")[0])
    assert {PLOTS[name]["x"], PLOTS[name]["y"]} <= columns
    assert fields_of(spec) - made_by(spec) <= columns


def test_a_picture_shows_each_of_two_revisions_alike_without_a_warning(name, capfd):
    rows = [row for rev in ("one", "two") for row in rows_of(PLOTS[name]["file"], rev)]
    svg = drawn(specification(name, rows), capfd)
    assert marks_of(svg, "one") == marks_of(svg, "two") > 0


def test_a_picture_has_a_title_and_no_colour_of_black_or_white_that_a_theme_would_hide(name):
    spec = specification(name, rows_of(PLOTS[name]["file"], "one"))
    assert PLOTS[name]["title"] in json.dumps(spec["title"], ensure_ascii=False)
    template = (TEMPLATES / f"{PLOTS[name]['template']}.json").read_text()
    assert not re.search(r'"(black|white|#000|#fff|#000000|#ffffff)"|"background"', template)


def test_no_anchor_is_left_and_the_editor_can_fill_what_dvc_leaves_to_it(name):
    rows = rows_of(PLOTS[name]["file"], "one")
    assert "<DVC_METRIC" not in json.dumps(specification(name, rows))
    options = {key: value for key, value in PLOTS[name].items() if key not in ("file", "cache")}
    split, told = VegaRenderer(rows, name, template_dir=str(TEMPLATES), **options).get_partial_filled_template()
    assert set(re.findall("<DVC_METRIC_[A-Z_]+>", json.dumps(split))) <= set(told["anchor_definitions"])


def test_an_error_of_zero_and_one_without_a_value_are_left_out_of_the_logarithmic_axis(capfd):
    values = {"kind": "a", "mse_macro": "2", "mse_macro_low": "1", "mse_macro_high": "4", "rev": "one"}
    nothing = [dict.fromkeys(values, empty) | {"kind": "b", "rev": "one"} for empty in ("0", "")]
    svg = drawn(specification("MSE by kind of token", [values, *nothing]), capfd)
    assert "kind: a" in svg
    assert "kind: b" not in svg


def test_a_comparison_that_lacks_a_measure_shows_the_others(capfd):
    rows = rows_of(PLOTS["FAST against block"]["file"], "one")
    short = [{key: value for key, value in row.items() if key != "in_model.ce_recovered"} for row in rows]
    assert marks_of(drawn(specification("FAST against block", short), capfd), "one") == 5 * len(rows)


def test_the_comparison_names_measures_as_its_report_does():
    template = json.loads((TEMPLATES / "fast_vs_block.json").read_text())
    titles = {measure.key: f"{measure.title} ({measure.better} is better)" for measure in MEASURES}
    folded = [field.replace("\\", "") for field in template["transform"][0]["fold"]]
    assert template["facet"]["sort"] == ["L0 (matched)", *(titles[key] for key in folded[1:])]
    assert all(f"'{key}': '{titles[key]}'" in template["transform"][2]["calculate"] for key in folded[1:])


def test_what_is_left_out_of_the_page_is_named():
    told = {
        "data": {"a.csv": [{"type": "vega", "content": {"mark": "bar"}}], "b.png": [{"type": "image", "url": "b.png"}]},
        "errors": [{"rev": "HEAD", "name": "c", "source": "c.csv", "type": "FileNotFoundError", "msg": ""}],
    }
    assert specifications(told) == [{"name": "a.csv", "spec": {"mark": "bar"}}]
    assert left_out(told) == ["left out, no Vega specification: b.png", "HEAD: c.csv: FileNotFoundError"]


def test_the_page_holds_all_that_it_needs_and_its_data_cannot_end_their_script():
    text = page([{"name": HOSTILE, "spec": {"title": HOSTILE}}], [HOSTILE])
    assert not re.search(r"<(script|link)[^>]*(src|href)=\"(?!data:)", text)
    assert text.count("</script>") == 2
    assert "default-src 'none'" in text
    assert "unsafe" not in re.findall('Content-Security-Policy" content="([^"]*)"', text)[0]


def test_make_plots_hands_its_revisions_on():
    done = subprocess.run(
        ["make", "-n", "plots", "A=HEAD~1", "B=k16"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "python tools/offline_plots.py HEAD~1 k16" in done.stdout


@pytest.fixture
def repository(tmp_path) -> Path:
    """A repository of two commits with the pictures' files, the second with a hostile label, and no data."""
    for path in ("dvc.yaml", "params.yaml", "models/tiny-instruct/config.json", "reports/fast_vs_block.csv"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    shutil.copytree(TEMPLATES, tmp_path / ".dvc/plots")
    shutil.copy(ROOT / ".dvc/config", tmp_path / ".dvc")
    shutil.copytree(ROOT / "metrics", tmp_path / "metrics")
    git(tmp_path, "init", "-q")
    commit(tmp_path, "one")
    labels = tmp_path / "metrics/plots/evaluate_sae/labels.csv"
    head, first, *rest = labels.read_text().splitlines()
    quoted = '"' + HOSTILE.replace('"', '""') + '"'
    labels.write_text("\n".join([head, quoted + first[first.index(",") :], *rest]) + "\n")
    commit(tmp_path, "two")
    return tmp_path


def git(root: Path, *words: str) -> None:
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *words], cwd=root, check=True)


def commit(root: Path, name: str) -> None:
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", name)
    git(root, "tag", name)


def offline_plots(root: Path, *revisions: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
    }
    return subprocess.run(
        [sys.executable, ROOT / "tools/offline_plots.py", *revisions],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_revision_that_git_does_not_know_is_told_in_one_line(repository):
    done = offline_plots(repository, "nope")
    assert (done.returncode, done.stderr) == (1, "UserError: dvc plots fails: unknown Git revision 'nope'\n")
    assert not (repository / "dvc_plots/offline.html").exists()


@pytest.mark.system
@pytest.mark.parametrize("revisions", [(), ("one", "two")])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_picture_is_drawn_without_a_network_and_nothing_in_it_runs(repository, revisions, scheme):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on PATH")
    done = offline_plots(repository, *revisions)
    assert done.returncode == 0, done.stderr
    said: list[str] = []
    asked: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium)
        shown = browser.new_context(
            offline=True, color_scheme=scheme, viewport={"width": 360, "height": 800}
        ).new_page()
        shown.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        shown.on("pageerror", lambda error: said.append(str(error)))
        shown.on("request", lambda request: asked.append(request.url))
        shown.goto((repository / "dvc_plots/offline.html").as_uri())
        shown.wait_for_function(f"document.querySelectorAll('figure svg.marks').length === {len(PLOTS)}")
        title = shown.title()
        width = shown.evaluate("document.documentElement.scrollWidth")
        text = shown.locator("#page").inner_text()
        browser.close()
    assert title == f"DVC's plots: {' and '.join(revisions) or 'working tree'}"
    assert "cannot be drawn" not in text
    assert width == 360
    assert asked == [(repository / "dvc_plots/offline.html").as_uri()]
    assert [line for line in said if not re.fullmatch(r"warning: The compiled spec uses Vega v5, .*", line)] == []
