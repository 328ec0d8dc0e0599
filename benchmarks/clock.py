"""The clock of a training loop: wall and processor seconds between `start` and `stop`."""

import gc
import time

import torch


class Clock:
    """Started by a library's driver right before its loop, stopped right behind it.

    What lies outside is not measured: imports, reading what a library wants in memory, the SAE's initialisation (and
    the median it may start from), making the optimiser, and a warm-up of a few steps on another SAE of the same shape.
    """

    def __init__(self, device: torch.device) -> None:
        """Measure loops on `device`."""
        self._device = device
        self.seconds = self.cpu_seconds = 0.0

    def start(self) -> None:
        """Begin, with the device idle and no garbage of earlier runs."""
        gc.collect()
        self._wait()
        self._begun = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        """End, when the device has done all it was given."""
        self._wait()
        wall, cpu = self._begun
        self.seconds, self.cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
