"""Files of the Hugging Face hub: the only code that connects to it, for the stages that may."""
