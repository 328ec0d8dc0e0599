"""Steer a language model by latents: `python src/steer.py --latent 213 --alpha 0 15 25 --prompt "Write a text."`.

Adds alpha times the latent's direction to the residual stream at every position and prints what is written, greedily,
with its perplexity under the unsteered model. The model, the chat template and the layer are those that the SAE was
trained with; params.yaml gives the device, the length of a continuation, and the seed of --control random.
"""

import argparse
import math
import sys
from pathlib import Path

from fast_sae.annotation.origin import read_origin
from fast_sae.arguments import positive
from fast_sae.errors import run
from fast_sae.params import load_params, parse_section
from fast_sae.runtime import RuntimeSettings
from fast_sae.steering.command import Asked, steer_prompts
from fast_sae.steering.settings import SteerSettings


def main() -> None:
    """Read the command line, steer, and print."""
    told = _parser().parse_args()
    params = load_params()
    settings = parse_section(params, "steer", SteerSettings)
    if told.max_new_tokens is not None:
        settings = settings.model_copy(update={"max_new_tokens": told.max_new_tokens})
    asked = Asked(
        told.latent, told.alpha, told.unit == "norm", told.prompt, told.control == "random", Path("data/prepared")
    )
    runtime = parse_section(params, "runtime", RuntimeSettings)
    for line in steer_prompts(read_origin(told.sae), asked, settings, runtime):
        sys.stdout.write(f"{line}\n")


def _parser() -> argparse.ArgumentParser:
    about, _, more = str(__doc__).partition("\n")
    parser = argparse.ArgumentParser(
        description=about, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--latent", type=int, nargs="+", required=True, metavar="N", help="latents of the SAE")
    parser.add_argument("--alpha", type=_finite, nargs="+", required=True, metavar="A", help="doses; 0 is unsteered")
    parser.add_argument("--prompt", action="append", required=True, metavar="TEXT", help="may be given several times")
    parser.add_argument(
        "--unit",
        choices=("absolute", "norm"),
        default="absolute",
        help="of the doses; norm: the mean norm of the residual stream over validation chats; default: absolute",
    )
    parser.add_argument("--max-new-tokens", type=positive, metavar="N", help="instead of steer.max_new_tokens")
    parser.add_argument("--control", choices=("random",), help="also a random direction of the same length")
    parser.add_argument("--sae", type=Path, default=Path("models/sae"), metavar="DIR", help="default: models/sae")
    return parser


def _finite(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be a number, found {text!r}")
    return value


if __name__ == "__main__":
    run(main)
