"""The numbers of a step that the host reads. It reads them while the next step runs, so that the device never waits."""

import time

import torch


class Reading:
    """The numbers of a step while they are copied to the host; `rate` is its learning rate.

    ended: when the device had them, by `time.monotonic`; on a GPU only after `values` was called.
    """

    def __init__(self, step: int, rate: float, values: torch.Tensor):
        """values: (n,) on the device."""
        self.step, self.rate = step, rate
        self.copy = values.to("cpu", non_blocking=True)  # from a GPU to pinned memory
        self.ended = time.monotonic()
        self.copied = torch.cuda.current_stream(values.device).record_event() if values.is_cuda else None

    def values(self) -> list[float]:
        """The numbers; waits until they are copied."""
        if self.copied is not None:
            self.copied.synchronize()
            self.ended = time.monotonic()
        return self.copy.tolist()
