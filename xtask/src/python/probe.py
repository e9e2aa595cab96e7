"""Says what Python sees: packages, the NVIDIA driver, torch, and CUDA.

Read from standard input by `python3 - [SECONDS [PART ...]]`, so it need not be
in an image; the parts are packages, driver and torch, by default packages and
torch. Needs the standard library, and torch for what it says about torch.

Writes JSON objects, one a line, each flushed, so that what was found out before
a hang or a crash is not lost: {"stage": name} before anything that may hang or
crash, facts after it. After SECONDS it ends itself, even where C code hangs.
"""

import ctypes
import errno
import faulthandler
import glob
import json
import os
import subprocess
import sys
import warnings
from email import message_from_string
from email.message import Message
from importlib import metadata


def say(**facts: object) -> None:
    """Writes one JSON line and flushes it."""
    print(json.dumps(facts), flush=True)


def text_of(error: BaseException) -> str:
    """An exception in one line."""
    return f"{type(error).__name__}: {error}"


def packages() -> None:
    """What is installed, and which of it lacks what it needs."""
    say(stage="reading the installed packages")
    heads = [head(dist) for dist in metadata.distributions()]
    installed: dict[str, str] = {}
    for found in heads:
        if found["Name"]:  # Of two copies on the path the first is imported.
            installed.setdefault(str(found["Name"]), str(found["Version"]))
    say(python=sys.version.split()[0], executable=sys.executable, packages=installed)
    try:
        say(unmet=sorted(unmet(heads, installed), key=str))
    except Exception as error:  # No `packaging` here, or metadata that it cannot read.
        say(unmet_unknown=text_of(error))


def head(dist: metadata.Distribution) -> Message:
    """The fields of a package's metadata, without the long description beneath them."""
    text = dist.read_text("METADATA") or dist.read_text("PKG-INFO") or ""
    return message_from_string(text.partition("\n\n")[0])


def unmet(heads: list[Message], installed: dict[str, str]) -> list[dict[str, str | None]]:
    """Which requirements of the installed packages do not hold."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    versions = {canonicalize_name(name): version for name, version in installed.items()}
    broken = []
    for head in heads:
        for text in head.get_all("Requires-Dist", []):
            if "extra ==" in text:
                continue  # Extras are not installed unless asked for, and there are many.
            need = Requirement(text)
            if need.marker and not need.marker.evaluate():
                continue
            found = versions.get(canonicalize_name(need.name))
            if found is None or not need.specifier.contains(found, prereleases=True):
                wanted = {"needs": need.name, "specifier": str(need.specifier)}
                broken.append({"package": str(head["Name"]), **wanted, "found": found})
    return broken


def visible_devices() -> dict[str, object]:
    """What kind of value CUDA_VISIBLE_DEVICES has, never the value itself."""
    value = os.environ.get("CUDA_VISIBLE_DEVICES")
    if value is None:
        return {"kind": "unset"}
    names = [name.strip() for name in value.split(",")]
    if not names[0]:
        return {"kind": "empty"}
    if names[0].startswith(("GPU-", "MIG-")):
        return {"kind": "uuid"}
    if not names[0].isdigit():
        return {"kind": "all" if names[0] == "all" else "none"}
    return {"kind": "numbers", "highest": max(int(name) for name in names if name.isdigit())}


def opened(path: str) -> str:
    """Whether a device node can be opened: "ok", or the name of the error."""
    try:
        os.close(os.open(path, os.O_RDWR))
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, "?")
    return "ok"


def driver() -> None:
    """The driver as the container sees it, without torch."""
    say(stage="opening the device nodes")
    nodes, shm = sorted(glob.glob("/dev/nvidia*")), os.statvfs("/dev/shm")
    say(
        nodes={path: opened(path) for path in nodes if not os.path.isdir(path)},
        wsl=os.path.exists("/dev/dxg"),
        visible=visible_devices(),
        shm=shm.f_frsize * shm.f_blocks,
    )
    say(stage="loading libcuda.so.1")
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        say(libcuda=str(error))
    else:
        say(libcuda="ok")
        version = ctypes.c_int()
        if cuda.cuDriverGetVersion(ctypes.byref(version)) == 0:
            say(driver=version.value)
        say(stage="initialising the driver (cuInit)")
        say(cuInit=cuda.cuInit(0))
    say(stage="asking nvidia-smi")
    # Names and counts only: a UUID identifies the card.
    if (lines := smi("-L")) is not None:
        say(smi=[line.split(" (UUID")[0] for line in lines])
        held = smi("--query-compute-apps=pid,process_name,used_memory", "--format=csv,noheader")
        say(holders=held)


def smi(*args: str) -> list[str] | None:
    """What nvidia-smi prints; none where the container lacks it or it hangs."""
    try:
        ran = subprocess.run(["nvidia-smi", *args], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = [line.strip() for line in (ran.stdout + ran.stderr).splitlines()]
    return [line for line in lines if line]


def torch() -> None:
    """torch, and what it can do with the GPUs."""
    say(stage="importing torch")
    try:
        import torch
    except BaseException as error:  # SystemExit from an import is a finding too.
        say(error=text_of(error))
        return
    say(
        torch=torch.__version__,
        cuda=torch.version.cuda,
        custom_fwd=hasattr(getattr(torch, "amp", None), "custom_fwd"),
    )
    say(stage="asking torch for CUDA devices")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # init() below says the same again.
            count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not count:
            torch.cuda.init()
        names = [torch.cuda.get_device_name(i) for i in range(count)]
        capabilities = [torch.cuda.get_device_capability(i) for i in range(count)]
        say(devices=names, capabilities=capabilities, archs=torch.cuda.get_arch_list())
    except Exception as error:
        say(devices=[], why=text_of(error))
        return
    say(stage="running a kernel on the GPU")
    try:
        say(memory=torch.cuda.mem_get_info())
        left, right = torch.rand(64, 64), torch.rand(64, 64)
        product = (left.cuda() @ right.cuda()).cpu()  # Waits for the GPU.
        say(kernel="ok" if torch.allclose(product, left @ right, atol=1e-2) else "wrong result")
    except Exception as error:
        say(kernel=text_of(error))


def main(seconds: str = "0", *parts: str) -> None:
    """Runs the parts that are asked for."""
    if int(seconds):
        faulthandler.dump_traceback_later(int(seconds), exit=True)
    for part in parts or ("packages", "torch"):
        {"packages": packages, "driver": driver, "torch": torch}[part]()
    say(stage="ending")


main(*sys.argv[1:])
