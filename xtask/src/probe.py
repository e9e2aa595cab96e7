"""Says what Python sees: installed packages, torch, and CUDA.

Read from standard input by `python3 -`, so it need not be in an image. Writes
one JSON object a line and flushes each, so that what was found out before a
crash is not lost: first {"packages": {name: version}}, then {"torch": version,
"cuda": version or null, "available": bool, "devices": [name]}, or
{"error": text} where torch does not import.
"""

import json
from importlib import metadata


def say(**fact: object) -> None:
    """Writes one JSON line and flushes it."""
    print(json.dumps(fact), flush=True)


names = ((dist.metadata["Name"], dist.version) for dist in metadata.distributions())
say(packages={name: version for name, version in names if name})
try:
    import torch

    available = torch.cuda.is_available()
    count = torch.cuda.device_count() if available else 0
    say(
        torch=torch.__version__,
        cuda=torch.version.cuda,
        available=available,
        devices=[torch.cuda.get_device_name(i) for i in range(count)],
    )
except BaseException as error:  # SystemExit from an import is a finding too.
    say(error=f"{type(error).__name__}: {error}")
