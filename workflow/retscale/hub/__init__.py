"""Files of the Hugging Face hub: the only code that reaches it, for the stages that may."""
