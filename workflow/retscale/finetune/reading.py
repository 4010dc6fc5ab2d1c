"""What the host reads of a step: a few numbers, once the next step runs, so that the device never waits for the host."""

import time

import torch


class Reading:
    """Numbers of a step on their way to the host; `rate` was its learning rate.

    ended: by `time.monotonic`, when the device had them; on a GPU only `values` knows.
    """

    def __init__(self, step: int, rate: float, values: torch.Tensor):
        """values: (n,) on the device."""
        self.step, self.rate = step, rate
        self.copy = values.to("cpu", non_blocking=True)  # from a GPU to pinned memory
        self.ended = time.monotonic()
        self.copied = torch.cuda.current_stream(values.device).record_event() if values.is_cuda else None

    def values(self) -> list[float]:
        """Waits until they are here."""
        if self.copied is not None:
            self.copied.synchronize()
            self.ended = time.monotonic()
        return self.copy.tolist()
