"""Finetune: a checkpoint becomes an encoder by contrastive training on pairs with hard negatives."""
