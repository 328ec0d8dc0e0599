"""DVC's own pictures in one HTML file that opens without a network: `make plots [A=revision] [B=revision]`.

    python tools/offline_plots.py [REVISION ...]    # writes dvc_plots/offline.html

No revision: the working tree. One: it and the working tree, one upon the other. More: these.
DVC says what is drawn (`dvc plots show --json`, `dvc plots diff --json`). Its own page loads Vega from a network and
puts text of the data into a script as it stands; here Vega comes from vl-convert, and data cannot run
(`fast_sae.page`). Pictures that are no Vega specification (PNG, SVG) are left out, and named.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import vl_convert

from fast_sae.artifacts import whole_file
from fast_sae.errors import UserError, run
from fast_sae.page.page import Page

OUT = Path("dvc_plots/offline.html")
HERE = Path(__file__).parent
VEGA_LITE = "5.20"
"""Templates name version 5, as DVC's own do."""


def main() -> None:
    """Read the command line, ask DVC, write the page, and say where it is."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0], allow_abbrev=False)
    parser.add_argument("revisions", nargs="*", metavar="REVISION", help="commit, branch or experiment")
    revisions = parser.parse_args().revisions
    told = asked_of_dvc(revisions)
    OUT.parent.mkdir(exist_ok=True)
    with whole_file(OUT) as part:
        part.write_text(page(specifications(told), revisions), encoding="utf-8")
    sys.stderr.write("".join(f"{line}\n" for line in left_out(told)))
    sys.stdout.write(f"{OUT}\n")


def asked_of_dvc(revisions: list[str]) -> dict[str, Any]:
    """Return what DVC says of the pictures of some revisions, as `--json` prints it.

    Raises:
        UserError: in DVC's own words, if it fails.
    """
    command = ["plots", "diff", "--json", "--", *revisions] if revisions else ["plots", "show", "--json"]
    done = subprocess.run(["dvc", *command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["it does not say why"]
        raise UserError(f"dvc plots fails: {said[0].removeprefix('ERROR: ')}")
    return json.loads(done.stdout)


def specifications(told: dict[str, Any]) -> list[dict[str, Any]]:
    """Return each picture's name in dvc.yaml and its Vega-Lite specification, in DVC's order."""
    return [
        {"name": name, "spec": one["content"]}
        for name, drawn in told["data"].items()
        for one in drawn
        if one["type"] == "vega"
    ]


def left_out(told: dict[str, Any]) -> list[str]:
    """Say what is not on the page: pictures without a specification, and what DVC could not read."""
    images = [name for name, drawn in told["data"].items() if any(one["type"] != "vega" for one in drawn)]
    lines = [f"left out, no Vega specification: {name}" for name in images]
    for error in told.get("errors", []):
        lines.append(f"{error['rev']}: {error.get('source') or error['name']}: {error['msg'] or error['type']}")
    return lines


def page(pictures: list[dict[str, Any]], revisions: list[str]) -> str:
    """Return the page that draws the pictures."""
    with tempfile.TemporaryDirectory() as folder:
        vega = Path(folder) / "vega.js"
        vega.write_text(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", VEGA_LITE), encoding="utf-8")
        return Page(
            title=f"DVC's plots: {' and '.join(revisions) or 'working tree'}",
            styles=[HERE / "offline_plots.css"],
            scripts=[vega, HERE / "offline_plots.js"],
            blocks={"plots": pictures},
            base_styles=(),
            base_scripts=(),
        ).html()


if __name__ == "__main__":
    run(main)
