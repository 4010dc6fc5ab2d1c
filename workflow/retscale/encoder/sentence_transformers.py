"""The files with which sentence-transformers 6 loads an encoder's folder as it is, and makes the same vectors.

They lie beside encoder.json, which does not list them: nothing here reads them.
"""

import json
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase

from retscale.encoder.names import CONFIG, POOLING_CONFIG, SENTENCE_TRANSFORMERS, TEXT_CONFIG
from retscale.model.causality import sees_ahead
from retscale.model.kinds import OWN_ATTENTION
from retscale.model.pooling import POOLINGS, Pooling
from retscale.model.prompt import Prompt
from retscale.model.tokenize import PROBES, ends, own_ends, token_ids

MODULES = {
    "": "base.modules.transformer.Transformer",
    "1_Pooling": "sentence_transformer.modules.pooling.Pooling",
    "2_Normalize": "base.modules.normalize.Normalize",
}


def contents(
    tokenizer: PreTrainedTokenizerBase, prompt: Prompt, pooling: Pooling, dimensions: int
) -> dict[str, list | dict]:
    """The JSON of each file, for an encoder of which `why_not` is None.

    `encode_query` and `encode_document` have the prompt and the length of their side; `encode`, which has no side, reads
    as many tokens of a text as a passage has.
    """
    text: dict = {"max_seq_length": prompt.passage_length}
    if prompt.query_length != prompt.passage_length:
        text |= {"query_length": prompt.query_length, "document_length": prompt.passage_length}
    if settings := settings_of(tokenizer, prompt):
        text["processor_kwargs"] = settings
    return {
        SENTENCE_TRANSFORMERS: [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.{module}"}
            for i, (path, module) in enumerate(MODULES.items())
        ],
        CONFIG: {
            "model_type": "SentenceTransformer",
            "prompts": {"query": prompt.query_prefix, "document": prompt.passage_prefix},
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
        TEXT_CONFIG: text,
        POOLING_CONFIG: {
            "embedding_dimension": dimensions,
            "pooling_mode": POOLINGS[pooling].sentence_transformers,
            "include_prompt": True,
        },
    }


def settings_of(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> dict:
    """What sentence-transformers must tell a tokenizer, so that it reads texts under `prompt` as token_ids does."""
    settings = {side: "right" for side in ("padding_side", "truncation_side") if getattr(tokenizer, side) != "right"}
    if (wanted := ends(tokenizer, prompt)) != own_ends(tokenizer):
        for name, ids in zip(("bos", "eos"), wanted):
            settings[f"add_{name}_token"] = bool(ids)
            if ids and ids != [getattr(tokenizer, f"{name}_token_id")]:  # BERT's [CLS] is not its BOS
                settings[f"{name}_token"] = tokenizer.convert_ids_to_tokens(ids[0])
    return settings


def why_not(folder: Path, tokenizer: PreTrainedTokenizerBase, prompt: Prompt, config: PreTrainedConfig) -> str | None:
    """Why sentence-transformers cannot read texts as the `tokenizer` of `folder` does under `prompt`, and a model of this
    `config`; None if it can."""
    if sees_ahead(config) and config.model_type in OWN_ATTENTION:
        return f"transformers cannot be told by config.json that a {config.model_type} sees the whole text"
    if prompt.query_suffix or prompt.passage_suffix:
        return "sentence-transformers knows no suffix that follows a text even where it is cut"
    settings = settings_of(tokenizer, prompt)
    other: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, **settings)
    probes = [text for text in PROBES if text]  # an empty one may have no token there
    for side in ("query", "passage"):
        texts = [prompt.prefix(side) + text for text in probes]
        theirs = other(texts, truncation=True, max_length=prompt.length(side), verbose=False)["input_ids"]
        if theirs != [ids.tolist() for ids in token_ids(tokenizer, probes, prompt, side).ids]:
            return f"its tokenizer cannot be set to put bos: {prompt.bos} and eos: {prompt.eos} around a text"
    return None


def write(folder: Path, files: dict[str, list | dict]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
