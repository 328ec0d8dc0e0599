"""Measure models/tiny-instruct: a stage of models/tiny-instruct/recipe/dvc.yaml, run from that folder."""

import json
from pathlib import Path

import torch
import yaml
from cognitive_actions.classifier import BagOfWords
from tiny_instruct.chats import chats, tokenise
from tiny_instruct.measure import LanguageModel, naming, perplexities, writing
from tiny_instruct.texts import held_out_texts, training_texts
from tiny_instruct.trigram import Trigram
from transformers import AutoModelForCausalLM, AutoTokenizer

_FOR_TRAINING = 5600
"""Texts of the corpus from which the classifier learns; the other 1,400 give its held-out score."""


def main(
    model_folder: Path = Path(".."),
    corpus: Path = Path("../../../data/raw/cognitive_actions.jsonl"),
    metrics: Path = Path("metrics.json"),
    samples: Path = Path("samples.jsonl"),
) -> None:
    """Write the figures of the model's README, and the texts it wrote."""
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    torch.set_num_threads(params["train"]["threads"])
    torch.manual_seed(params["measure"]["seed"])
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    model = LanguageModel(AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32), tokenizer)
    seen, unseen = training_texts(params["texts"]), held_out_texts(params["texts"])
    held_out_chats = chats(unseen, seed=params["texts"]["seed"])
    learned = (tokenise(tokenizer, chat)[0] for _, chat in chats(seen, seed=params["texts"]["seed"]))
    classifier, held_out_score = _classifier(corpus)
    asked = unseen[: params["measure"]["n_generations"]]
    written, texts = writing(model, asked, classifier, temperature=params["measure"]["temperature"])
    found = {
        "perplexity": perplexities(model, held_out_chats, tokenizer),
        "trigram_perplexity": perplexities(Trigram(learned, len(tokenizer)), held_out_chats, tokenizer),
        "classifier": {"held_out": held_out_score},
        "writing": written,
        "naming": {"right": naming(model, unseen)},
    }
    rounded = {name: {key: round(value, 4) for key, value in figures.items()} for name, figures in found.items()}
    metrics.write_text(json.dumps(rounded, indent=2) + "\n", encoding="utf-8")
    samples.write_text("".join(json.dumps(sample) + "\n" for sample in texts), encoding="utf-8")


def _classifier(corpus: Path) -> tuple[BagOfWords, float]:
    records = [json.loads(line) for line in corpus.read_text(encoding="utf-8").splitlines()]
    texts, actions = ([record[field] for record in records] for field in ("text", "cognitive_action"))
    classifier = BagOfWords(texts[:_FOR_TRAINING], actions[:_FOR_TRAINING])
    return classifier, classifier.accuracy(texts[_FOR_TRAINING:], actions[_FOR_TRAINING:])


if __name__ == "__main__":
    main()
