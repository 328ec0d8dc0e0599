"""A language model that is steered in one layer: its prompts, what it writes, and what tokens cost it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from fast_sae.activations.live.batches import plan_batches
from fast_sae.activations.live.hub import resolve_commit
from fast_sae.activations.live.model import load_tokenizer
from fast_sae.activations.rendering import make_renderer
from fast_sae.activations.settings import ExtractSettings, ModelSettings
from fast_sae.chat.examples import Example, Message
from fast_sae.chat.kinds import Kind
from fast_sae.chat.render import Rendered, Renderer
from fast_sae.chat.roles import Role
from fast_sae.errors import ArtifactError, ModelError, UserError
from fast_sae.runtime import RuntimeSettings
from fast_sae.sae.base import SparseAutoencoder
from fast_sae.splice.causal_lm import CausalLM, load_causal_lm
from fast_sae.splice.generation import generate, stop_tokens
from fast_sae.splice.predicted import Predicted

Done = Callable[[int], object]


@dataclass(frozen=True)
class SteeredModel:
    """z' = z + α·d at every position of `hidden_states[layer]`, α·d of norm α (FAST, Li et al. 2025, Eq. 8)."""

    lm: CausalLM
    tokenizer: PreTrainedTokenizerBase
    renderer: Renderer
    uses_template: bool
    layer: int
    runtime: RuntimeSettings

    @classmethod
    def open(
        cls, model: ModelSettings, extract: ExtractSettings, sae: SparseAutoencoder, runtime: RuntimeSettings
    ) -> "SteeredModel":
        """Load the language model that an SAE reads.

        Raises:
            NoCausalLMError: if it does not predict the next token.
            ArtifactError: if it is not as wide as the SAE.
        """
        commit = resolve_commit(model)
        tokenizer = load_tokenizer(model, commit)
        lm = load_causal_lm(model, commit, runtime.torch_device())
        if sae.d_in != lm.d_in:
            raise ArtifactError(f"the SAE reads activations of width {sae.d_in}, and the model gives {lm.d_in}")
        renderer = make_renderer(tokenizer, extract)
        return cls(lm, tokenizer, renderer, extract.template == "chat", sae.settings.layer, runtime)

    def prompt(self, text: str) -> list[int]:
        """Return the tokens of a user's turn and of the header of the answer, as an example's are rendered.

        Raises:
            UserError: if it is empty, or longer than `extract.max_length`.
            ModelError: if the template gives the answer no place.
        """
        if not text.strip():
            raise UserError("a prompt is empty; give it some words")
        asked = Message(role="user", content=text)
        if not self.uses_template:
            bare = self.renderer.render(Example("the prompt", (asked,), is_text=True))
            return self._whole(bare, bare.token_ids[bare.kinds != Kind.END_OF_TURN].tolist())
        answer = Message(role="assistant", content="x")
        chat = self.renderer.render(Example("the prompt", (asked, answer), is_text=False))
        answered = np.flatnonzero((chat.kinds == Kind.CONTENT) & (chat.roles == Role.ASSISTANT))
        if not chat.truncated and not len(answered):
            raise ModelError("the chat template renders no answer, so that a prompt cannot be told from one")
        return self._whole(chat, chat.token_ids[: answered[0] if len(answered) else None].tolist())

    def _whole(self, rendered: Rendered, ids: list[int]) -> list[int]:
        if rendered.truncated:
            raise UserError(f"a prompt is longer than extract.max_length, {len(rendered.token_ids)} tokens; shorten it")
        return ids

    def write(
        self,
        prompts: Sequence[Sequence[int]],
        shifts: Float[Tensor, "prompt d_in"],
        max_new_tokens: int,
        done: Done = lambda rows: None,
    ) -> list[list[int]]:
        """Continue each prompt greedily with its own vector added; see `generate`."""
        return generate(
            self.lm,
            prompts,
            shifts,
            self.layer,
            stop=self._stop,
            max_new_tokens=max_new_tokens,
            batch_tokens=self.runtime.extract_tokens(),
            done=done,
        )

    def text(self, written: Sequence[int]) -> str:
        """Return a continuation as text, without the token that ended it; other special tokens can be seen."""
        told = written[:-1] if self.ended(written) else written
        return str(self.tokenizer.decode([*told], skip_special_tokens=False))

    def token(self, token: int) -> str:
        """Return one token as text."""
        return str(self.tokenizer.decode([token]))

    def ended(self, written: Sequence[int]) -> bool:
        """Whether a continuation came to an end by itself."""
        return bool(written) and written[-1] in self._stop

    @cached_property
    def _stop(self) -> frozenset[int]:
        return stop_tokens(self.lm, self.tokenizer)

    def nats(
        self,
        sequences: Sequence[Sequence[int]],
        counted_from: Sequence[int],
        shifts: Float[Tensor, "sequence d_in"] | None = None,
        done: Done = lambda rows: None,
    ) -> Float[np.ndarray, " sequence"]:
        """Sum up −log p of the tokens of each sequence from the given position (1 or later) on, teacher-forced.

        Args:
            sequences: Token ids.
            counted_from: Position of the first token that counts.
            shifts: What is added to the hidden states of each; None: the model as it is.
            done: Told the number of sequences of each batch.
        """
        total = np.zeros(len(sequences))
        for rows in plan_batches(range(len(sequences)), [*map(len, sequences)], self.runtime.lm_batch_tokens):
            chosen = [row[0] for row in rows]
            batch = self.lm.batch([sequences[i] for i in chosen], pad_left=self.tokenizer.padding_side == "left")
            if shifts is None:
                logits = self.lm.logits(batch)
            else:
                with self.lm.shifted(self.layer, shifts[chosen].to(self.lm.model.device)):
                    logits = self.lm.logits(batch)
            nats = Predicted.of(batch).cross_entropy(logits).double().cpu().numpy()
            at = 0
            for i in chosen:
                n = len(sequences[i]) - 1
                total[i] = nats[at : at + n][counted_from[i] - 1 :].sum()
                at += n
            done(len(chosen))
        return total

    def read(
        self, rendered: Sequence[Rendered], wanted: Callable[[Rendered], Bool[np.ndarray, " position"]]
    ) -> list[Float[Tensor, "_ d_in"]]:
        """Return `hidden_states[layer]` of the wanted tokens of each example, unsteered."""
        found: list[Tensor] = [torch.empty(0)] * len(rendered)
        lengths = [len(one.token_ids) for one in rendered]
        for rows in plan_batches(range(len(rendered)), lengths, self.runtime.lm_batch_tokens):
            parts = [rendered[row[0]] for row in rows]
            batch = self.lm.batch([part.token_ids.tolist() for part in parts])
            flags = [wanted(part) for part in parts]
            states = self.lm.read(batch, self.layer, batch.at(torch.from_numpy(np.concatenate(flags))))
            for row, of_row in zip(rows, states.split([int(flag.sum()) for flag in flags]), strict=True):
                found[row[0]] = of_row
        return found
