//! Tests of `process/running`.

use std::io::Write as _;

use super::*;
use crate::error::{self, Kind};
use crate::process::{capture, clean_up, on_terminal, shown, to_its_end};

fn sh(script: &str) -> Invocation {
    Invocation::new("sh", ["-c", script])
}

fn shell() -> Shell {
    Shell::new().unwrap()
}

#[test]
fn both_streams_and_the_code_are_captured() {
    let cap = Duration::from_secs(10);
    let script = sh("cat; echo err >&2; exit 3").stdin("in", "text");
    let got = capture(&shell(), &script, cap).unwrap();
    assert_eq!((got.code, &*got.stdout, &*got.stderr), (3, "in", "err\n"));
    assert_eq!(capture(&shell(), &sh("kill -9 $$"), cap).unwrap().code, 137);
    let big = capture(&shell(), &sh("head -c 100000 /dev/zero"), cap).unwrap();
    assert_eq!(big.stdout.len(), 100_000);
}

#[test]
fn a_command_that_hangs_is_killed_and_what_it_said_is_kept() {
    let script = sh("echo said; echo err >&2; exec sleep 60");
    let cap = Duration::from_secs(1);
    let got = capture(&shell(), &script, cap).unwrap();
    assert_eq!((&*got.stdout, &*got.stderr, got.timed_out), ("said\n", "err\n", Some(cap)));
    let error = got.in_time(&script).unwrap_err();
    assert!(error.to_string().ends_with("gave no answer within 1 s"), "{error}");
    assert_eq!(error::kind(&error), Kind::NoAnswer);
}

#[test]
fn a_process_left_in_the_background_holds_nothing_up() {
    let started = Instant::now();
    let got = capture(&shell(), &sh("echo x; sleep 60 &"), Duration::from_secs(30)).unwrap();
    assert_eq!((&*got.stdout, got.timed_out), ("x\n", None));
    assert!(started.elapsed() < Duration::from_secs(25));
}

#[test]
fn cleaning_up_takes_no_longer_than_it_may() {
    let started = Instant::now();
    clean_up(&shell(), &sh("exec sleep 60"), Duration::from_millis(50));
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[test]
fn the_childs_code_is_passed_on_and_known_causes_are_named() {
    let error = on_terminal(&shell(), &sh("exit 17")).unwrap_err();
    assert_eq!(error::exit_code(&error), 17);
    let said = sh("echo out; echo 'port is already allocated' >&2; exit 3");
    let error = shown(&shell(), &said).unwrap_err();
    assert_eq!((error::exit_code(&error), error::kind(&error)), (3, Kind::PortTaken));
    shown(&shell(), &sh("true")).unwrap();
}

#[test]
fn the_cause_at_the_end_of_much_output_is_found() {
    let much = "printf '%90000s\\r'; echo no space left on device; exit 1";
    let error = shown(&shell(), &sh(much)).unwrap_err();
    assert!(error.to_string().contains("disk"), "{error}");
}

#[test]
fn what_outlives_xtask_writes_to_the_log_and_is_passed_on() {
    let path = std::env::temp_dir().join(format!("xtask-log-test-{}", std::process::id()));
    let mut log = File::options().create_new(true).read(true).write(true).open(&path).unwrap();
    log.write_all(b"signature\n").unwrap();
    let run = |script: &str| to_its_end(&shell(), &sh(script), Duration::ZERO, Some(&log));
    run("echo one; echo two >&2").unwrap();
    let error = run("echo 'port is already allocated' >&2; exit 3").unwrap_err();
    assert_eq!(error::kind(&error), Kind::PortTaken);
    let text = fs_err::read_to_string(&path).unwrap();
    assert_eq!(text, "signature\none\ntwo\nport is already allocated\n");
    fs_err::remove_file(path).unwrap();
}
