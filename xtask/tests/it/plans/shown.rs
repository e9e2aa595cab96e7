//! Plans as a dry run shows them, whole, and what a plan is easily wrong about.

use crate::fake::*;

#[test]
fn plans_are_shown_whole() {
    let mut fake = Fake::serving();
    fake.drift("Recreate");
    snapshot(
        &fake.xtask(&["restart", "--dry-run"]),
        r#"restart: .env or the compose configuration changed
no NVIDIA card on the engine's machine: adding docker-compose.cpu.yml
start the container
  because: its configuration is another
  would run: docker compose --file docker-compose.yml --file docker-compose.cpu.yml up --detach --no-build backend
wait until `backend` answers
  because: the command succeeds once it does
--- stderr
--- exit 0
"#,
    );

    let mut fake = Fake::serving();
    let name = fake.inputs_name();
    fake.own_names(&[(name.rsplit(':').next().unwrap(), "sha256:a")]);
    fake.repo.write("backend/app.sh", "# 2\n");
    snapshot(
        &fake.xtask(&["fast", "--dry-run"]),
        r#"fast: the sources changed since the image was built
no NVIDIA card on the engine's machine: adding docker-compose.cpu.yml
build the image with cache, under a temporary tag
  because: the sources changed since the image was built
  would run: docker compose --file docker-compose.yml --file docker-compose.cpu.yml --file - --progress plain build --builder default backend   # stdin: a compose file that names the image and resets its further tags
  undone by: docker image rm localhost/xtask/p-backend:building-<digest>
keep the image as it is, if the build produces an identical image
  because: the container need not be replaced
  would run: docker image rm localhost/xtask/p-backend:building-<digest>
  would run: docker tag sha256:a localhost/xtask/p-backend:building-<digest>
tag the image with the digest of its inputs, unless the sources change during the build
  because: the next decision compares it with the sources
  would run: docker tag localhost/xtask/p-backend:building-<digest> localhost/xtask/p-backend:<digest>-<digest>
  undone by: docker image rm localhost/xtask/p-backend:<digest>-<digest>
keep the image that served, for a rollback, if the image is another than before
  because: the new one may not serve
  would run: docker tag sha256:a localhost/xtask/p-backend:previous
  undone by: docker image rm localhost/xtask/p-backend:previous
give the image the service's names
  because: Compose starts the image with these names
  would run: docker tag localhost/xtask/p-backend:building-<digest> p-backend:latest
  undone by: docker tag sha256:a p-backend:latest
start a container of the image
  because: a running container does not change its image
  would run: docker compose --file docker-compose.yml --file docker-compose.cpu.yml up --detach --no-build backend
remove the temporary tag
  because: the image has its own names
  would run: docker image rm localhost/xtask/p-backend:building-<digest>
record what the image was built from, unless the sources change during the build
  because: the next decision says what changed since
  would run: docker import --change 'LABEL xtask.record="{\"files\":{\"backend/Dockerfile\":\"ee969efc2b8fccb0729a9122f684c430\",\"backend/app.sh\":\"e4bd92bc749867981ea785b59956a5c3\",\"backend/ma…' - localhost/xtask/p-backend:<digest>-<digest>.record   # stdin: an empty archive
  undone by: docker image rm localhost/xtask/p-backend:<digest>-<digest>.record
wait until `backend` answers
  because: the command succeeds once it does
remove superseded tags; an image goes with its last tag
  because: the service no longer needs them
  would run: docker image rm localhost/xtask/p-backend:<digest>-<digest> localhost/xtask/p-backend:previous
remove build cache that only superseded images used, if the image is another than before
  because: left out if counting it takes long
  would run: docker buildx prune --builder default --force --filter id=SUPERSEDED_LAYERS
--- stderr
--- exit 0
"#,
    );

    let mut fake = Fake::serving();
    fake.no_image();
    snapshot(
        &fake.xtask(&["up", "--dry-run"]),
        r#"full: there is no image `p-backend:latest` yet
build the image without cache, under a temporary tag
  because: there is no image `p-backend:latest` yet
  would run: docker compose --file docker-compose.yml --file - --progress plain build --builder default --no-cache backend   # stdin: a compose file that names the image and resets its further tags
  undone by: docker image rm localhost/xtask/p-backend:building-<digest>
check that torch 2.5.1 imports in the new image
  because: every package was installed anew
  would run: docker run --rm --interactive --name xtask-<digest>-0 --network none --entrypoint python3 localhost/xtask/p-backend:building-<digest> -   # stdin: a Python script
  if it fails: docker tag localhost/xtask/p-backend:building-<digest> localhost/xtask/p-backend:failed
look for an NVIDIA card in a container of the new image
  because: the engine has no other image; without a card, docker-compose.cpu.yml is added below and the GPU check is left out
tag the image with the digest of its inputs, unless the sources change during the build
  because: the next decision compares it with the sources
  would run: docker tag localhost/xtask/p-backend:building-<digest> localhost/xtask/p-backend:<digest>-<digest>
  undone by: docker image rm localhost/xtask/p-backend:<digest>-<digest>
give the image the service's names
  because: Compose starts the image with these names
  would run: docker tag localhost/xtask/p-backend:building-<digest> p-backend:latest
  undone by: docker image rm p-backend:latest
start a container of the image
  because: a running container does not change its image
  would run: docker compose up --detach --no-build backend
remove the temporary tag
  because: the image has its own names
  would run: docker image rm localhost/xtask/p-backend:building-<digest>
record what the image was built from, unless the sources change during the build
  because: the next decision says what changed since
  would run: docker import --change 'LABEL xtask.record="{\"files\":{\"backend/Dockerfile\":\"ee969efc2b8fccb0729a9122f684c430\",\"backend/app.sh\":\"ea6806bf81ddc1431a6dea6d2cec4a03\",\"backend/ma…' - localhost/xtask/p-backend:<digest>-<digest>.record   # stdin: an empty archive
  undone by: docker image rm localhost/xtask/p-backend:<digest>-<digest>.record
wait until `backend` answers
  because: the command succeeds once it does
--- stderr
--- exit 0
"#,
    );

    let mut fake = Fake::serving();
    fake.own_names(&[("previous", "sha256:p")]);
    snapshot(
        &fake.xtask(&["rollback", "--dry-run"]),
        r#"rollback: back to the image that served before the last swap
no NVIDIA card on the engine's machine: adding docker-compose.cpu.yml
keep the image that failed
  because: it shows what is wrong with it
  would run: docker tag sha256:a localhost/xtask/p-backend:failed
give the image the service's names
  because: Compose starts the image with these names
  would run: docker tag localhost/xtask/p-backend:previous p-backend:latest
  undone by: docker tag sha256:a p-backend:latest
start a container of the previous image
  because: it is the one that served
  would run: docker compose --file docker-compose.yml --file docker-compose.cpu.yml up --detach --no-build backend
wait until `backend` answers
  because: the command succeeds once it does
remove superseded tags; an image goes with its last tag
  because: the service no longer needs them
  would run: docker image rm localhost/xtask/p-backend:previous
--- stderr
--- exit 0
"#,
    );
}

#[test]
fn leftovers_of_a_killed_run_are_removed_though_nothing_else_is_needed() {
    let mut fake = Fake::serving();
    fake.own_names(&[("building-0011223344556677", "sha256:x")]);
    snapshot(
        &fake.xtask(&["up"]),
        r#"none: it runs, from the current sources and configuration
`backend` answers on http://127.0.0.1:8000
--- stderr
--- exit 0
"#,
    );
    let removes = format!("image rm {BUILDING}\n");
    assert!(fake.log().contains(&removes), "{}", fake.log());
}

#[test]
fn a_record_is_quoted_for_dockers_own_variables() {
    let mut fake = Fake::serving();
    fake.repo.write("backend/$HOME.txt", "");
    let record = fake.record();
    assert!(record.contains(r"backend/\$HOME.txt"), "{record}");
    fake.after(
        &compose(BUILD),
        &format!("image inspect {BUILDING}"),
        0,
        &image("sha256:b", "m", &[]),
        "",
    );
    for line in [
        &compose(BUILD),
        &compose(UP),
        &record,
        &format!("tag {BUILDING} {INPUTS}"),
        &format!("tag {BUILDING} p-backend:latest"),
        "tag sha256:a localhost/xtask/p-backend:previous",
        "image rm localhost/xtask/p-backend:previous",
        BUILD_CACHE,
    ] {
        fake.answer(line, 0, "", "");
    }
    fake.xtask(&["fast"]).ok();
    assert!(fake.log().contains(&record), "{}", fake.log());
}
