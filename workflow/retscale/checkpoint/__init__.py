"""Stage `checkpoint`: a pretrained model from the hub, a folder, a GGUF file, or pretrained here."""
