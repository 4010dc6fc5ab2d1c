"""The kind of a model by its config.json, for code that does not import transformers."""

# Encoder-decoders whose encoder half works alone; its positions are relative, so it reads a text of any length.
T5 = {"t5", "mt5", "umt5"}

# The types that transformers has for masked language modeling.
MASKED = {
    "albert", "bart", "bert", "big_bird", "camembert", "convbert", "data2vec-text", "deberta", "deberta-v2",
    "distilbert", "electra", "ernie", "esm", "esmc", "eurobert", "flaubert", "fnet", "funnel", "gte", "ibert",
    "jina_embeddings_v3", "layoutlm", "longformer", "luke", "mbart", "megatron-bert", "mobilebert", "modernbert",
    "modernvbert", "mpnet", "mra", "mvp", "neomme", "nomic_bert", "nystromformer", "perceiver", "reformer", "rembert",
    "roberta", "roberta-prelayernorm", "roc_bert", "roformer", "squeezebert", "tapas", "ultrabert", "ultravbert",
    "xlm", "xlm-roberta", "xlm-roberta-xl", "xmod", "yoso",
}  # fmt: skip

# Their first position is the one after the padding token's number, as RoBERTa's.
POSITIONS_AFTER_PADDING = {
    "camembert", "data2vec-text", "ibert", "longformer", "luke", "mpnet", "roberta", "roberta-prelayernorm",
    "xlm-roberta", "xlm-roberta-xl", "xmod",
}  # fmt: skip

# Types that are known to have a table of positions, beyond whose rows they read nothing.
LEARNED_POSITIONS = POSITIONS_AFTER_PADDING | {
    "albert",
    "bert",
    "distilbert",
    "electra",
    "gpt2",
    "gpt_neo",
    "gptj",
    "opt",
}

# Types whose attention gets all that packing needs: restarted positions, and the bounds of the texts. Each has its test.
# Not among them: GPT-J and GPT-Neo (attention of their own), Gemma 2 (caps its scores), T5 (adds a bias to them),
# ModernBERT (half of its layers see fewer tokens than a text has), RoBERTa's kin (positions begin behind the padding's id).
PACKABLE = {
    "bert", "gemma", "gpt2", "gpt_neox", "llama", "mistral", "mpt", "olmo", "olmo2", "opt", "phi", "qwen2", "qwen3",
}  # fmt: skip

# Of these transformers 5.23 heeds no `is_causal` in config.json.
OWN_ATTENTION = {"mpt"}


def positions(config: dict) -> int | None:
    """Tokens that a model of this config.json has positions for; None if it is not known to have a table of them."""
    counts = (config.get(key) for key in ("max_position_embeddings", "n_positions"))
    rows = next((count for count in counts if isinstance(count, int)), None)
    if rows is None or config["model_type"] not in LEARNED_POSITIONS:
        return None
    return rows - config.get("pad_token_id", 1) - 1 if config["model_type"] in POSITIONS_AFTER_PADDING else rows


def continues_text(config: dict) -> bool:
    """Whether a model of this config.json is a decoder, as `load.is_decoder` finds of the loaded one."""
    kind = config.get("model_type")
    masked = kind in MASKED and not config.get("is_decoder")
    return not (masked or config.get("is_encoder_decoder") or kind in T5 or config.get("is_causal") is False)
