//! doctor on what a real card answered: the probe's own lines, recorded on a
//! machine with one H100 (driver 580.159.04, torch 2.11.0+cu130).

use std::fs;

use crate::{common::Run, doctors::on_gpu};

/// What was looked up on the engine's machine there: vendors on the PCI bus, driver, disk.
const MACHINE: &str = "0x10de\n\
     NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build  (nixbld@)  \n\
     overlay 264212084 20371196 74914692 22% /\n";

const WELL: &str = "✓ NVIDIA card    on the engine's machine
✓ driver         580.159.04
✓ GPU access     the engine hands out the GPUs
✓ GPU request    asks for all
✓ device nodes   4 in /dev
✓ libcuda        libcuda.so.1 loads
✓ cuInit         CUDA 13.0
✓ GPUs           NVIDIA H100 80GB HBM3
✓ capability     9.0
✓ kernel         a matrix product gives the same result as on the CPU
✓ GPU memory     84.5 GB of 85.0 GB free
✓ /dev/shm       137.4 GB
nothing to fix
";

#[test]
fn doctor_on_what_a_real_card_answered() {
    for (recording, want) in [
        ("h100", ""),
        // The driver drops what follows the first wrong number.
        ("h100-visible-half-out-of-range", ""),
        (
            "h100-memory-held",
            "! GPU memory     19.4 GB of 85.0 GB free, the rest is held by 694, python3,",
        ),
        ("h100-uvm-refused", "✗ device nodes   /dev/nvidia-uvm cannot be opened: EACCES"),
        (
            "h100-visible-empty",
            "✗ GPUs           CUDA_VISIBLE_DEVICES is set but empty, which hides every GPU",
        ),
        (
            "h100-visible-minus-one",
            "✗ GPUs           CUDA_VISIBLE_DEVICES names no GPU, which hides every one",
        ),
        (
            "h100-visible-out-of-range",
            "✗ GPUs           CUDA_VISIBLE_DEVICES names a GPU that is not there, by too high",
        ),
        (
            "h100-visible-all",
            "✗ GPUs           CUDA_VISIBLE_DEVICES is `all`, which CUDA does not know",
        ),
        (
            "h100-visible-unknown-uuid",
            "✗ GPUs           CUDA_VISIBLE_DEVICES names GPUs that are not there",
        ),
    ] {
        let run = doctor(recording);
        let ill: Vec<_> =
            run.stdout.lines().filter(|line| line.starts_with(['✗', '!', '?'])).collect();
        assert_eq!(ill.join("\n"), want, "{recording}");
        assert_eq!(run.code, Some(i32::from(want.starts_with('✗'))), "{recording}");
        if want.is_empty() {
            assert_eq!(run.stdout, WELL, "{recording}");
        }
    }
}

/// What doctor prints of the GPU where the probe answers with this recording.
fn doctor(recording: &str) -> Run {
    let path = format!("{}/tests/it/cards/{recording}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let mut fake = on_gpu();
    fake.repo.write("backend/requirements.txt", "torch==2.11.0\n");
    fake.card(MACHINE);
    fake.python(0, &fs::read_to_string(path).unwrap(), "");
    fake.xtask(&["doctor", "gpu"])
}
