"""What the host reads of a step: a few numbers, once the next step runs, so that the device never waits for the host."""

import torch


class Reading:
    """Numbers of a step on their way to the host; `rate` was its learning rate."""

    def __init__(self, step: int, rate: float, values: torch.Tensor):
        """values: (n,) on the device."""
        self.step, self.rate = step, rate
        self.copy = values.to("cpu", non_blocking=True)  # from a GPU to pinned memory
        self.copied = torch.cuda.current_stream(values.device).record_event() if values.is_cuda else None

    def values(self) -> list[float]:
        """Waits until they are here."""
        if self.copied is not None:
            self.copied.synchronize()
        return self.copy.tolist()
