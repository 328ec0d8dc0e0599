"""The passes of a language model with and without an SAE in it, and what each token costs to predict.

Every chat stands alone, rendered as for extraction. One mask says where something is put in, for the SAE, zeros and the
mean alike: the tokens of the kinds that the SAE was trained on. A loss is taken wherever a real token follows a real
one, by the attention mask and never by a token's id; the prediction of a token sits at the one before it.

Differs from extraction: the SAE is given activations as the model computes them, not rounded to `extract.dtype`.

Cost: four passes of the whole model over the test examples (clean, SAE, zeros, mean) and one without logits over as
many validation examples. Memory: the model, the logits of `runtime.lm_batch_tokens` positions twice in the model's
type, and the log-probabilities of 256 positions.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fast_sae.activations.live.batches import plan_batches
from fast_sae.chat.render import Rendered
from fast_sae.errors import ModelError
from fast_sae.evaluation.in_model.sums import QUANTITIES, PredictionSums, cell_of
from fast_sae.splice.causal_lm import Batch, CausalLM, Replace
from fast_sae.splice.predicted import Predicted


@dataclass(frozen=True)
class InModel:
    """A language model, and the place in it that an SAE reads."""

    lm: CausalLM
    layer: int
    kinds: tuple[int, ...]
    """Kinds of tokens at which something is put in."""
    batch_tokens: int
    """Tokens in one batch, padding included."""
    pad_left: bool

    def mean(
        self, rendered: Sequence[Rendered], done: Callable[[int], object] = lambda tokens: None
    ) -> Float[Tensor, " d_in"]:
        """Return the mean activation, in float64, over the tokens at which something is put in."""
        total, rows = torch.zeros(self.lm.d_in, dtype=torch.float64, device=self.lm.model.device), 0
        for _, batch, mask in self._batches(rendered, done):
            states = self.lm.read(batch, self.layer, mask)
            total += states.double().sum(0)
            rows += len(states)
        assert rows, "training has seen such tokens"
        return total / rows

    def measure(
        self,
        rendered: Sequence[Rendered],
        reconstruct: Replace,
        mean: Float[Tensor, " d_in"],
        done: Callable[[int], object] = lambda tokens: None,
    ) -> PredictionSums:
        """Sum up what each token costs to predict, as the model is and with something put in.

        Args:
            rendered: The examples.
            reconstruct: The SAE: activations to their reconstruction.
            mean: What the mean ablation puts in.
            done: Told the number of tokens of each batch.

        Raises:
            ModelError: if a loss is NaN or infinite.
        """
        put_in = {"ce_sae": reconstruct, "ce_zero": torch.zeros_like, "ce_mean": mean.expand_as}
        sums = PredictionSums(len(rendered))
        for chosen, batch, mask in self._batches(rendered, done):
            nats = self._nats(batch, mask, put_in)
            if not np.isfinite(nats).all():
                raise ModelError("the language model's loss is NaN or infinite; use another model.dtype")
            parts = [rendered[i] for i in chosen]
            example = np.repeat(chosen, [len(part.token_ids) - 1 for part in parts])
            sums.add(example, np.concatenate([cell_of(part.roles[1:], part.kinds[1:]) for part in parts]), nats)
        return sums

    def _batches(
        self, rendered: Sequence[Rendered], done: Callable[[int], object]
    ) -> Iterator[tuple[list[int], Batch, Bool[Tensor, "batch position"]]]:
        """Yield batches of similar length: indices of the examples, the batch, and where something is put in."""
        lengths = [len(example.token_ids) for example in rendered]
        for rows in plan_batches(range(len(rendered)), lengths, self.batch_tokens):
            chosen = [row[0] for row in rows]
            parts = [rendered[i] for i in chosen]
            batch = self.lm.batch([part.token_ids.tolist() for part in parts], pad_left=self.pad_left)
            flags = np.isin(np.concatenate([part.kinds for part in parts]), self.kinds)
            yield chosen, batch, batch.at(torch.from_numpy(flags))
            done(sum(lengths[i] for i in chosen))

    def _nats(
        self, batch: Batch, mask: Bool[Tensor, "batch position"], put_in: Mapping[str, Replace]
    ) -> Float[np.ndarray, "quantity token"]:
        """Return the `QUANTITIES` of each predicted token, sequence behind sequence."""
        at = Predicted.of(batch)
        clean = self.lm.logits(batch)
        nats = {"ce_clean": at.cross_entropy(clean)}
        for name, replace in put_in.items():
            with self.lm.spliced(self.layer, mask, replace):
                spliced = self.lm.logits(batch)
            nats[name] = at.cross_entropy(spliced)
            if name == "ce_sae":
                nats["kl"] = at.divergence(clean, spliced)
            del spliced  # before the next ones come: logits are the largest tensors here
        return torch.stack([nats[name] for name in QUANTITIES]).double().cpu().numpy()
