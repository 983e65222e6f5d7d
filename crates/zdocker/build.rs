//! How the program is linked.

fn main() {
    // What a static program relocates when it starts is a list of 24 bytes for each address; packed, it is a fiftieth of that.
    // The C library must know the packed form: glibc does from 2.36 on.
    if std::env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "gnu") {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
