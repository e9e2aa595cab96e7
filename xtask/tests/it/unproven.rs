//! A service without a healthcheck: what answers or runs long enough counts as up, and the
//! image that served stays until the next swap.

use std::time::{Duration, Instant};

use crate::{
    common::{APP, COMPOSE_FILE},
    service::{Service, need},
};

/// Serving, with these keys in place of the healthcheck.
fn serving(keys: &str) -> Option<Service> {
    let service = Service::new()?;
    let lines = COMPOSE_FILE.lines().filter(|line| !line.contains("healthcheck"));
    let compose = lines.map(|line| format!("{line}\n")).collect::<String>();
    service.write("docker-compose.yml", &compose.replace("restart: unless-stopped", keys));
    service.xtask(&["up"]).ok();
    Some(service)
}

fn image(service: &Service) -> String {
    service.inspect(&service.container(), "{{.Image}}")
}

#[test]
fn what_ends_within_seconds_fails_and_the_way_back_is_open() {
    for (keys, app, code) in [
        ("restart: 'no'", "a syntax error (\n", 2),
        ("restart: unless-stopped", "sleep 3; exit 7\n", 7),
    ] {
        let service = need!(serving(keys));
        let old = image(&service);
        service.write("backend/app.sh", app);
        let run = service.xtask(&["fast"]);
        run.fails(1, &[&format!("exit code {code}"), "hint: cargo xtask rollback"]);
        service.xtask(&["rollback"]).ok();
        assert_eq!(image(&service), old, "{app}");
        let run = service.xtask(&["full"]);
        run.fails(1, &[&format!("exit code {code}"), "rolled back to the previous image"]);
        assert_eq!(image(&service), old, "{app}");
        assert!(service.running());
    }
}

#[test]
fn what_dies_after_a_success_can_be_rolled_back() {
    let service = need!(serving("restart: unless-stopped"));
    let old = image(&service);
    service.write("backend/app.sh", "sleep 13; exit 7\n");
    service.xtask(&["fast"]).ok();
    let container = service.container();
    service.wait_for(&container, "{{.RestartCount}}", "1");
    service.decides("restart", "crash-looping");
    service.xtask(&["rollback"]).ok();
    assert_eq!(image(&service), old);
    service.write("backend/app.sh", APP);
    service.decides("none", "it runs");
}

#[test]
fn older_images_do_not_pile_up() {
    let service = need!(serving("restart: unless-stopped"));
    for round in 0..3 {
        service.write("backend/app.sh", &format!("{APP}# {round}\n"));
        service.xtask(&["up"]).ok();
    }
    let names = service.own_names();
    // The one that serves and the one to roll back to, each with its record; the latter has
    // two names.
    assert_eq!(names.len(), 5, "{names:?}");
}

#[test]
fn anything_in_http_on_its_port_counts_as_an_answer() {
    const HTTP: &str = r#"trap 'exit 0' TERM
perl -MIO::Socket::INET -e '
    $s = IO::Socket::INET->new(Listen => 5, LocalPort => 8000, ReuseAddr => 1) or die;
    while ($c = $s->accept) { print $c "HTTP/1.0 404 Not Found\r\n\r\n"; close $c }' &
wait
"#;
    let service = need!(serving("ports: ['127.0.0.1::8000']"));
    if std::env::var("DOCKER_HOST").is_ok() {
        return; // Its loopback is another machine's.
    }
    let fast = |app: &str| {
        service.write("backend/app.sh", app);
        let started = Instant::now();
        service.xtask(&["fast"]).ok();
        started.elapsed()
    };
    let silent = fast(&format!("{APP}# silent\n"));
    let answers = fast(HTTP);
    assert!(silent > Duration::from_secs(10) && answers < silent, "{silent:?}, {answers:?}");
}
