//! The test binary, started again as a child process.

#![allow(dead_code, reason = "each test uses its own part of this")]

use std::process::{Child, Command, Stdio};

/// Starts this test binary in its ignored test `child_process`, with pipes to and from it.
pub fn spawn(environment: &[(&str, &str)]) -> Child {
    command(environment).spawn().expect("the child process starts")
}

/// What [`spawn`] starts.
pub fn command(environment: &[(&str, &str)]) -> Command {
    let program = std::env::current_exe().expect("the path of this program");
    let mut command = Command::new(program);
    command
        .args(["--ignored", "--exact", "child_process", "--nocapture", "--test-threads=1"])
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}
