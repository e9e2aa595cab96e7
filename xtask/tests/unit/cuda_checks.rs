//! Tests of `doctor/checks/cuda`.

use super::*;

#[test]
fn code_is_compiled_for_a_gpu_or_can_be() {
    let archs = |list: &str| list.split(' ').map(str::to_owned).collect::<Vec<_>>();
    for (list, gpu, want) in [
        ("sm_80 sm_86 sm_90", (8, 9), true),
        ("sm_80 sm_86 sm_90", (9, 0), true),
        ("sm_80 sm_86 sm_90", (10, 0), false),
        ("sm_80 sm_86 sm_90", (12, 0), false),
        ("sm_86", (8, 0), false),
        ("sm_80 compute_80", (12, 0), true),
        ("compute_90", (8, 0), false),
        ("sm_90a", (9, 0), true),
        ("sm_100a", (10, 1), false),
        ("sm_120", (12, 1), true),
        ("nonsense", (9, 0), false),
    ] {
        assert_eq!(compiled_for(&archs(list), gpu), want, "{list} {gpu:?}");
    }
}
