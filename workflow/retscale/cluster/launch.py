"""The command that starts a training."""


def command(nodes: int, processes: int, sharded: bool, gpu: bool) -> str:
    if nodes * processes == 1:  # a launcher would only import torch once more
        return "python"
    return "accelerate launch --quiet --config_file profiles/local/accelerate.yaml"
