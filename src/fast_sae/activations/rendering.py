"""How examples become tokens: the renderer that `extract` describes, and whole splits through it."""

from collections.abc import Mapping, Sequence
from datetime import date

from transformers import PreTrainedTokenizerBase

from fast_sae.activations.settings import ExtractSettings
from fast_sae.chat.examples import Example
from fast_sae.chat.render import Rendered, Renderer
from fast_sae.chat.splits import Split
from fast_sae.errors import ModelError
from fast_sae.progress import with_progress

_NAMED = 20  # examples named in one error


def make_renderer(tokenizer: PreTrainedTokenizerBase, settings: ExtractSettings) -> Renderer:
    """Make the renderer that the settings describe."""
    return Renderer(
        tokenizer,
        use_template=settings.template == "chat",
        template_kwargs=settings.template_kwargs,
        template_date=date.fromisoformat(settings.template_date),
        max_length=settings.max_length,
    )


def render_examples(
    examples: Mapping[Split, Sequence[Example]], tokenizer: PreTrainedTokenizerBase, settings: ExtractSettings
) -> dict[Split, list[Rendered]]:
    """Turn the examples of every split into tokens."""
    renderer = make_renderer(tokenizer, settings)
    refused: list[str] = []
    rendered: dict[Split, list[Rendered]] = {split: [] for split in examples}
    for split, part in examples.items():
        for example in with_progress(part, f"render {split}", "example"):
            try:
                rendered[split].append(renderer.render(example))
            except ModelError as error:
                refused.append(str(error))
    if refused:
        more = f"; and {len(refused) - _NAMED} more" if len(refused) > _NAMED else ""
        raise ModelError(f"{len(refused)} examples cannot be rendered: {'; '.join(refused[:_NAMED])}{more}")
    return rendered
