"""Names of the files that describe an encoder."""

RETSCALE = "encoder.json"

# Of sentence-transformers.
SENTENCE_TRANSFORMERS, CONFIG = "modules.json", "config_sentence_transformers.json"
TEXT_CONFIG, POOLING_CONFIG = "sentence_bert_config.json", "1_Pooling/config.json"
OF_SENTENCE_TRANSFORMERS = (SENTENCE_TRANSFORMERS, CONFIG, TEXT_CONFIG, POOLING_CONFIG)
