"""What makes the host wait for an accelerator, as it can be counted without one."""

from torch.utils._python_dispatch import TorchDispatchMode

READS = {"item", "is_nonzero", "_local_scalar_dense", "nonzero", "equal"}


class Waits(TorchDispatchMode):
    """`count`: how often, within it, the host reads a value of a tensor."""

    count = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        self.count += function.name().split("::")[1].split(".")[0] in READS
        return function(*arguments, **(options or {}))
