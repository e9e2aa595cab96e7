//! The rules of `.dockerignore` beside BuildKit, which has the last word on them.

use std::process::Command;

use crate::service::{Service, need};

#[path = "../unit/ignore_rules.rs"]
mod ignore_rules;

#[test]
fn buildkit_leaves_out_what_the_rules_say() {
    let service = need!(Service::new());
    for (number, (text, path, excluded)) in ignore_rules::RULES.iter().enumerate() {
        let file = |name: &str| format!("{number}/{name}");
        service.write(&file(&format!("context/{path}")), "");
        service.write(&file("context/Dockerfile"), "FROM scratch\nCOPY . /\n");
        service.write(&file("context/Dockerfile.dockerignore"), text);
        let root = service.root.join(number.to_string());
        let (context, out) = (root.join("context"), root.join("out"));
        let build = Command::new("docker")
            .args(["buildx", "build", "--quiet", "--output"])
            .arg(format!("type=local,dest={}", out.display()))
            .arg(context)
            .output()
            .unwrap();
        assert!(build.status.success(), "{text:?}: {}", String::from_utf8_lossy(&build.stderr));
        assert_eq!(!out.join(path).exists(), *excluded, "{text:?} on {path}");
    }
}
