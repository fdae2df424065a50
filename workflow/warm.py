"""A papermill engine that keeps its kernel: notebooks without its start each time.

Importing torch and transformers takes a kernel longer than most notebooks need for the
rest. Names are cleared between notebooks and figure formats set anew; imported modules
stay. That every notebook runs in a fresh kernel is what nbval tests.
"""

import atexit
import os
import shutil
import tempfile
from typing import Any

from jupyter_client.manager import KernelManager
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines

from workflow import formats

NAME = "vicrop-warm"


class WarmEngine(NBClientEngine):
    """Executes the notebooks of one process in one kernel, one after the other."""

    kernel: KernelManager | None = None

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name: str, **kwargs: Any):
        """Execute in the kept kernel; a dead one is replaced."""
        kernel = cls._fresh(kernel_name)
        client = PapermillNotebookClient(nb_man, km=kernel, kernel_name=kernel_name)
        try:
            return client.execute()
        finally:
            client.kc.stop_channels()

    @classmethod
    def _fresh(cls, kernel_name: str) -> KernelManager:
        """The kernel, without names of an earlier notebook."""
        if cls.kernel is None or not cls.kernel.is_alive():
            cls.kernel = _start(kernel_name)
        client = cls.kernel.blocking_client()
        client.start_channels()
        client.wait_for_ready(timeout=60)
        for code in (formats.INSTALL, "%reset -f"):
            said = client.execute_interactive(code, store_history=False, timeout=60)
            if said["content"]["status"] != "ok":
                raise RuntimeError(f"a kernel cannot {code}: {said['content']}")
        client.stop_channels()
        return cls.kernel


def _start(kernel_name: str) -> KernelManager:
    """A kernel behind sockets of its own, which go with this process."""
    # Named by default after nothing: two processes would meet in the same sockets.
    place = tempfile.mkdtemp(prefix="vicrop-kernel-")
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    address = os.path.join(place, "ipc")
    kernel = KernelManager(kernel_name=kernel_name, transport="ipc", ip=address)
    kernel.start_kernel()
    atexit.register(kernel.shutdown_kernel, now=True)
    return kernel


papermill_engines.register(NAME, WarmEngine)
