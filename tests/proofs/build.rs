//! Passes the layout of the images to the linker.

fn main() {
    println!("cargo::rerun-if-changed=image.x");
    println!("cargo::rustc-link-arg-bins=-T{}/image.x", env!("CARGO_MANIFEST_DIR"));
}
