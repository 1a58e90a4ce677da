//! Compiles the C shim. It calls SQLite only through `sqlite3_api_routines`, so all it needs of SQLite is the
//! header `sqlite3ext.h`, which `libsqlite3-sys` ships beside the bundled source.

fn main() {
    println!("cargo:rerun-if-changed=c");
    // For the models of `src/schedules`: see `src/sync.rs`.
    println!("cargo:rustc-check-cfg=cfg(shuttle)");
    // For the crate in `fuzz`.
    println!("cargo:rustc-check-cfg=cfg(fuzzing)");
    println!("cargo:rerun-if-env-changed=VWAL_SHUTTLE");
    if std::env::var("VWAL_SHUTTLE").is_ok_and(|on| on == "1") {
        println!("cargo:rustc-cfg=shuttle");
    }
    let mut build = cc::Build::new();
    for file in ["c/ext.c", "c/vfs.c", "c/dbfile.c", "c/walfile.c", "c/basefile.c", "c/sqlfunc.c"] {
        build.file(file);
    }
    build.define("VWAL_VERSION", format!("\"{}\"", env!("CARGO_PKG_VERSION")).as_str());
    if let Some(include) = std::env::var_os("DEP_SQLITE3_INCLUDE") {
        build.include(include);
    }
    build
        .flag_if_supported("-fvisibility=hidden")
        .flag_if_supported("-Wno-unused-parameter")
        .warnings(true)
        .extra_warnings(true)
        .std("c99")
        .compile("vwal_shim");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        // A library below exports functions of its own; the extension has one export, its entry point.
        println!("cargo:rustc-cdylib-link-arg=-Wl,--exclude-libs,ALL");
    }
}
