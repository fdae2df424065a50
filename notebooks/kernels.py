"""Kernels forked from a process that has imported other people's packages, not ours.

Importing torch and what stands on it takes longer than most notebooks' own cells. A
forked kernel is a process of its own as any other; none has run a cell before.
"""

import os
import signal
from collections.abc import Callable
from multiprocessing import connection, forkserver, get_context
from multiprocessing.context import ForkServerProcess

from ipykernel.kernelapp import IPKernelApp

FORKS = get_context("forkserver")
MODELS = (
    "transformers.models.llava.modeling_llava",
    "transformers.models.instructblip.modeling_instructblip",
    "transformers.models.qwen2_5_vl.modeling_qwen2_5_vl",
)
FORKS.set_forkserver_preload(
    "torch pandas pyarrow scipy.stats statsmodels.api matplotlib.pyplot pydantic typer "
    "matplotlib_inline.backend_inline ipykernel.kernelapp nbformat rapidfuzz "
    "rich.console".split()
    + [*MODELS]
)


def kernel(file: str, cwd: str, env: dict[str, str], ready: connection.Connection):
    """Be the kernel of a connection file until it is shut down or nobody is left."""
    os.setsid()  # signals go to the kernel's group
    ready.send(True)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1), os.dup2(silent, 2)
    os.environ.update(env)
    os.chdir(cwd)
    parent = f"--IPKernelApp.parent_handle={os.getppid()}"
    IPKernelApp.launch_instance(argv=["-f", file, parent])


class Forked:
    """A kernel's process, with what jupyter_client asks of a ``Popen``."""

    stdin = stdout = stderr = None

    def __init__(self, cmd: list[str], cwd: str, env: dict[str, str], **_):
        here, there = FORKS.Pipe(duplex=False)
        args = (cmd[cmd.index("-f") + 1], cwd, env, there)
        self.process = ForkServerProcess(target=kernel, args=args)
        self.process.start()
        there.close()  # a kernel that fails at once is not waited for
        here.recv()
        self.pid = self.process.pid

    def poll(self) -> int | None:
        """Exit status, if it has ended."""
        return self.process.exitcode

    def wait(self) -> int | None:
        """Exit status, once it has ended."""
        self.process.join()
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal to the kernel alone."""
        os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask the kernel to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the kernel."""
        self.send_signal(signal.SIGKILL)


def launch(stock: Callable, cmd: list[str], **how):
    """A kernel: forked where it is told its folder, as by nbval; else as always."""
    return Forked(cmd, **how) if "cwd" in how else stock(cmd, **how)


def stop() -> None:
    """End the process that is forked, and count its seconds as ours."""
    forkserver._forkserver._stop()
