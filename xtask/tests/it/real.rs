//! The real image: its own package installer, its own server.

use crate::{
    matrix::Matrix,
    service::{Service, need},
};

#[test]
fn faults_of_the_real_image() {
    let mut m = Matrix::new(need!(Service::real()));
    let read = |m: &Matrix, path: &str| fs_err::read_to_string(m.service.root.join(path)).unwrap();

    let requirements = read(&m, "backend/requirements.txt");
    m.service
        .write("backend/requirements.txt", &format!("{requirements}no-such-package-at-all==1\n"));
    for args in [&["fast", "--force"][..], &["full"]] {
        let run = m.service.xtask(args);
        m.refused(
            "a requirement that does not exist",
            args,
            &run,
            &["a requirement does not exist", "correct backend/requirements.txt"],
        );
    }
    m.service.write("backend/requirements.txt", &requirements);

    let env = m.service.env.clone();
    m.service.set("UV_DEFAULT_INDEX", "http://127.0.0.1:1/simple");
    let runs = ["fast", "full"].map(|command| (command, m.service.xtask(&[command])));
    m.service.env = env;
    for (command, run) in runs {
        m.refused(
            "a package index that does not answer",
            &[command],
            &run,
            &["a package index does not answer", "UV_DEFAULT_INDEX"],
        );
    }

    let app = read(&m, "backend/app.py");
    let fails =
        "@app.middleware(\"http\")\nasync def broken(request, call_next):\n    raise OSError\n";
    for (fault, code, text) in [
        ("crashes at import", "raise RuntimeError(\"broken at import\")\n", "broken at import"),
        ("answers 500", fails, "did not answer within 30 s"),
    ] {
        m.service.write("backend/app.py", &format!("{app}\n\n{code}"));
        let run = m.service.xtask(&["fast", "--timeout", "30"]);
        run.fails(
            1,
            &[text, "the image that served before is still there", "hint: cargo xtask rollback"],
        );
        m.note(fault, "fast", &run);
        m.works("  and back", &["rollback"]);
    }
    m.service.write("backend/app.py", &app);
    m.works("from the sources as they were", &["up"]);
    m.print("Faults of the real image");
}
