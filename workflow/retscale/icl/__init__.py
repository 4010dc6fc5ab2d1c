"""In-context learning: what a pretrained checkpoint can do before any fine-tuning."""
