//! Compiles the C shim. It calls SQLite only through `sqlite3_api_routines`, so all it needs of SQLite is the
//! header `sqlite3ext.h`, which `libsqlite3-sys` ships beside the bundled source.

fn main() {
    println!("cargo:rerun-if-changed=c");
    // For the models of `src/testing/schedules`: see `src/sync.rs`.
    println!("cargo:rustc-check-cfg=cfg(shuttle)");
    // For the crate in `fuzz`.
    println!("cargo:rustc-check-cfg=cfg(fuzzing)");
    println!("cargo:rerun-if-env-changed=VWAL_SHUTTLE");
    if std::env::var("VWAL_SHUTTLE").is_ok_and(|on| on == "1") {
        println!("cargo:rustc-cfg=shuttle");
    }
    let mut build = cc::Build::new();
    // For `.ci/asan`: the directory of the sources, which AddressSanitizer is to watch. The extension needs its runtime then.
    println!("cargo:rerun-if-env-changed=VWAL_ASAN");
    let watched = std::env::var("VWAL_ASAN").ok();
    let sources = watched.as_deref().unwrap_or("c");
    if watched.is_some() {
        println!("cargo:rerun-if-changed={sources}");
        build.flag("-fsanitize=address").flag("-fno-omit-frame-pointer");
    }
    for file in [
        "ext.c",
        "vfs.c",
        "pager.c",
        "refused.c",
        "dbfile.c",
        "dblog.c",
        "walfile.c",
        "basefile.c",
        "sqlfunc.c",
        "sqltab.c",
    ] {
        build.file(std::path::Path::new(sources).join(file));
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
