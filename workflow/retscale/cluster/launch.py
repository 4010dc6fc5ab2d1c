"""The command that starts a training."""


def command(nodes: int, processes: int, sharded: bool, gpu: bool) -> str:
    return "accelerate launch --quiet --config_file profiles/local/accelerate.yaml"
