"""The process that holds the model: `python -m service.engine`, started by model.py.

A process of its own, since importing torch and reducing a mesh hold Python's lock for
seconds, in which the service could not even answer /health, and since native code that
crashes takes its process with it.
"""

import gc
import os
import queue
import sys
import tempfile
import threading
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from . import messages
from .errors import BadImage, NoBackgroundModel, NoSurface
from .messages import Cancel, Job, Mesh, Message, NoMesh, Ready, Unusable
from .settings import Settings
from .weights import NoWeights, locate

if TYPE_CHECKING:
    from .pipeline import Pipeline


OUT_OF_MEMORY = ("DefaultCPUAllocator: can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""What torch says of exhausted memory in errors that have no type of their own."""


def main() -> None:
    """Load the model, then answer jobs until the service goes away."""
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # Upstream prints; its words must not get between the messages.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    cancelled = threading.Event()
    pipeline = load(Settings(), cancelled)
    if isinstance(pipeline, Unusable):
        send(answers, pipeline)
        return
    jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
    threading.Thread(target=listen, args=(requests, jobs, cancelled), daemon=True).start()
    # What was loaded stays; only what a job leaves is worth looking at.
    gc.freeze()
    send(answers, Ready())
    while True:
        job = jobs.get()
        send(answers, replace(work(pipeline, job), number=job.number))
        sweep()


def load(settings: Settings, cancelled: threading.Event) -> "Pipeline | Unusable":
    """Find the weights, and import torch only then."""
    try:
        weights = locate(settings)
        # Last, so that nothing there is taken for a module of ours.
        sys.path.append(str(settings.sources_path))
        from .pipeline import Pipeline

        return Pipeline(weights, cancelled)
    except NoWeights as error:
        return Unusable("no weights", str(error))
    except Exception as error:
        traceback.print_exc()
        return Unusable("failed", summary(error))


def listen(requests: BinaryIO, jobs: "queue.SimpleQueue[Job]", cancelled: threading.Event) -> None:
    """Take what the service sends, also while a job is under way."""
    try:
        while message := messages.read(requests):
            if isinstance(message, Job):
                # The service sends a job after the answer to the last one, and a late Cancel
                # before it.
                cancelled.clear()
                jobs.put(message)
            elif isinstance(message, Cancel):
                cancelled.set()
    except Exception:
        # An engine that hears nothing would be waited for in vain.
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    # The service is gone: a mesh could not be delivered.
    os._exit(0)


def work(pipeline: "Pipeline", job: Job) -> Mesh | NoMesh:
    """Do a job, and put a name to what it fails with."""
    import torch

    from .pipeline import Cancelled

    try:
        return Mesh(pipeline.generate(job))
    except Cancelled:
        return NoMesh("cancelled")
    except BadImage as error:
        return NoMesh("bad image", error.detail)
    except NoBackgroundModel as error:
        return NoMesh("no background model", error.detail)
    except NoSurface:
        return NoMesh("no surface")
    except (torch.OutOfMemoryError, MemoryError):
        return NoMesh("out of memory")
    except Exception as error:
        if any(words in str(error) for words in OUT_OF_MEMORY):
            return NoMesh("out of memory")
        return NoMesh("unexpected", traceback.format_exc())


def sweep() -> None:
    """Give back what a job left.

    Raises torch's error, which ends the process, if the device was lost; the next process
    finds out whether it is back.
    """
    import torch

    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    torch.cuda.empty_cache()
    # Upstream never deletes its temporary files, which lie in memory in the container.
    for leftover in Path(tempfile.gettempdir()).iterdir():
        if leftover.is_file():
            leftover.unlink()


def send(answers: BinaryIO, message: Message) -> None:
    """Send at once."""
    answers.write(messages.encode(message))
    answers.flush()


def summary(error: Exception) -> str:
    """An exception in one line that fits /health."""
    line = " ".join(str(error).split())
    return f"{type(error).__name__}: {line}"[:300]


if __name__ == "__main__":
    main()
