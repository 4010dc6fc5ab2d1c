"""What the JSON files in an encoder's folder say: how it makes vectors, and which files it needs for that.

No model is loaded, so that a study can be checked before anything runs. What cannot be reproduced is refused by name.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from retscale.common.regular import require_regular
from retscale.encoder.card import EncoderCard
from retscale.encoder.names import CONFIG, RETSCALE, SENTENCE_TRANSFORMERS, TEXT_CONFIG
from retscale.errors import UserError
from retscale.model.causality import Attention
from retscale.model.pooling import POOLINGS
from retscale.model.weight_files import has_weights, listed_weights, needed
from retscale.provenance.beside import path_of

POOLING_NAMES = {method.sentence_transformers: name for name, method in POOLINGS.items()}
# How older versions of sentence-transformers say it.
OLD_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
# Other keys that TEXTS may have, with values that change no vector.
HARMLESS = {"transformer_task": "feature-extraction", "module_output_name": "token_embeddings"}
LAST_LAYER = {"method": "forward", "method_output_name": "last_hidden_state"}


@dataclass(frozen=True)
class Description:
    """`files` are names in the folder, mapped to the sha256 that the folder lists or None.

    `prompt` holds keys of Prompt, without lengths where only the tokenizer knows them. `lower_case`: every text must be
    lower-cased, by whatever means. `attention`, `prompt_sha256` and `n_params` are those of an encoder of retscale.
    """

    pooling: str
    prompt: dict
    files: dict[str, str | None]
    lower_case: bool = False
    attention: Attention = "causal"
    prompt_sha256: str | None = None
    n_params: dict = field(default_factory=dict)


def describe(folder: Path) -> Description:
    """Raises UserError that names the missing file, or the one that asks for what cannot be reproduced."""
    for name, read in ((RETSCALE, _read_retscale), (SENTENCE_TRANSFORMERS, _read_sentence_transformers)):
        if (folder / name).is_file():
            listed_weights(folder)  # UserError for weights that nobody lists, such as an adapter's
            try:
                return read(folder)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise UserError(
                    f"{folder}: its JSON files do not describe an encoder ({error}); get a complete folder"
                ) from error
    raise UserError(
        f"{folder} has neither {RETSCALE} (an encoder of retscale) nor {SENTENCE_TRANSFORMERS} (of sentence-transformers); name the "
        "folder that does"
    )


def _read_retscale(folder: Path) -> Description:
    path = folder / RETSCALE
    card = EncoderCard.read(path, "train this encoder again")
    if card.folder:
        raise UserError(f"{path} describes an encoder in {card.folder}; name that folder")
    if not card.normalize:
        raise _refusal(path, "vectors that are not normalized", "cosine")
    names = [file.name for file in folder.iterdir() if file != path_of(path)]
    files = {RETSCALE: None, **dict.fromkeys(needed(names)), **dict(sorted(card.files.items()))}
    _require_files(folder, files)
    prompt, n_params = card.prompt.model_dump(mode="json"), card.n_params.model_dump()
    return Description(
        card.pooling, prompt, files, attention=card.attention, prompt_sha256=card.prompt_sha256, n_params=n_params
    )


def _read_sentence_transformers(folder: Path) -> Description:
    modules = _read(folder / SENTENCE_TRANSFORMERS, list)
    pooling_path = folder / _pooling_folder(folder / SENTENCE_TRANSFORMERS, modules) / "config.json"
    config = _read(folder / "config.json", dict)
    if "auto_map" in config:
        raise _refusal(folder / "config.json", "custom code (auto_map)", "a model that transformers has")
    model_config = _read(folder / CONFIG, dict, default={})
    similarity = model_config.get("similarity_fn_name") or "cosine"
    if similarity != "cosine" and not (similarity == "dot" and len(modules) == 3):
        raise _refusal(folder / CONFIG, f"the similarity {similarity!r}", "cosine, or dot of normalized vectors")
    prefixes = _prefixes(folder / CONFIG, model_config)
    pooling = _pooling(pooling_path, any(prefixes.values()))
    settings = _text_settings(folder / TEXT_CONFIG)
    length = settings.get("max_seq_length")
    names = needed(path.name for path in folder.iterdir())
    if not has_weights(names):
        raise UserError(f"{folder} has no weights (*.safetensors or pytorch_model*.bin); get a complete folder")
    _require_files(folder, ["tokenizer.json"])
    return Description(
        pooling,
        prefixes | ({"query_length": length, "passage_length": length} if length else {}),
        dict.fromkeys([*names, str(pooling_path.relative_to(folder))]),
        lower_case=bool(settings.get("do_lower_case")),
    )


def _pooling_folder(path: Path, modules: list) -> str:
    """Where the settings of the pooling are; raises UserError for modules that are not supported."""
    try:
        types = [module["type"] for module in modules]
        paths = [module["path"] for module in modules]
    except (KeyError, TypeError):
        raise UserError(f"{path} is not a list of modules with type and path; get a complete folder") from None
    package = "sentence_transformers."
    names = [type_name.rpartition(".")[2] if type_name.startswith(package) else type_name for type_name in types]
    if names not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise _refusal(path, f"the modules {', '.join(names)}", "Transformer, Pooling and perhaps Normalize")
    if paths[0]:
        raise _refusal(
            path, f"a model in {paths[0]}", f"one beside {path.name}; its layout is outdated, so save it again"
        )
    return paths[1]


def _pooling(path: Path, prefixed: bool) -> str:
    """Our name of the one pooling."""
    config = _read(path, dict)
    modes = config.get("pooling_mode") or [mode for flag, mode in OLD_FLAGS.items() if config.get(flag)] or ["mean"]
    modes = [modes] if isinstance(modes, str) else modes
    if len(modes) != 1 or modes[0] not in POOLING_NAMES:
        raise _refusal(path, f"the pooling {' + '.join(map(str, modes))}", f"one of {', '.join(POOLING_NAMES)}")
    if prefixed and not config.get("include_prompt", True):
        raise _refusal(path, "a pooling that leaves out the prompt", "a pooling over all tokens")
    return POOLING_NAMES[modes[0]]


def _prefixes(path: Path, model_config: dict) -> dict[str, str]:
    """The prompts that sentence-transformers adds before queries and documents by default."""
    prompts = {name: text for name, text in (model_config.get("prompts") or {}).items() if text}
    if others := sorted(prompts.keys() & {"passage", "corpus"}):
        raise _refusal(path, f"a prompt {others[0]!r}", "those named query and document")
    if (name := model_config.get("default_prompt_name")) in prompts.keys() - {"query", "document"}:
        raise _refusal(path, f"the default prompt {name!r}", "those named query and document")
    if model_config.get("truncate_dim"):
        raise _refusal(path, "truncate_dim", "whole vectors")
    return {"query_prefix": prompts.get("query", ""), "passage_prefix": prompts.get("document", "")}


def _text_settings(path: Path) -> dict:
    """How texts are read: max_seq_length and do_lower_case; raises UserError for a key that may change vectors."""
    settings = _read(path, dict, default={})
    modalities = settings.get("modality_config") or {"text": LAST_LAYER}
    if modalities.get("text") != LAST_LAYER:
        raise _refusal(path, f"modality_config {modalities}", "the last layer's vectors of a text")
    for key, value in settings.items():
        if key not in ("max_seq_length", "do_lower_case", "modality_config") and value and value != HARMLESS.get(key):
            raise _refusal(path, f"{key} {value!r}", "max_seq_length and do_lower_case")
    length = settings.get("max_seq_length")
    if length is not None and (not isinstance(length, int) or length < 4):
        raise _refusal(path, f"max_seq_length {length!r}", "at least 4 tokens")
    return settings


def _read(path: Path, kind: type, default: dict | list | None = None):
    """The JSON value in a file, which must be a `kind`; `default` if that is given and there is no file."""
    if default is not None and not path.exists():
        return default
    require_regular(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {path}: {why}; get a complete folder") from None
    if not isinstance(value, kind):
        raise UserError(f"{path} is not a JSON {'object' if kind is dict else 'list'}; get a complete folder")
    return value


def _require_files(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        if not (folder / name).is_file():
            raise UserError(f"{folder / name} is missing; get a complete folder")


def _refusal(path: Path, unsupported: str, supported: str) -> UserError:
    return UserError(
        f"{path}: {unsupported} cannot be reproduced here, only {supported}; remove this encoder from the study"
    )
