//! The sizes a user counts on, and that the README's table says the truth about them.

use std::mem::size_of;

use socklab_core::{echo, math};

/// Module, client, server.
const SIZES: [(&str, usize, usize); 2] = [
    ("math", size_of::<math::Client>(), size_of::<math::Server>()),
    ("echo", size_of::<echo::Client>(), size_of::<echo::Server>()),
];

#[test]
fn machines_are_as_small_as_promised() {
    assert_eq!(size_of::<math::Client>(), 8);
    assert_eq!(size_of::<math::Server>(), 12);
    assert!(size_of::<echo::Client>() <= 32);
    assert!(size_of::<echo::Server>() <= 32);
}

#[test]
fn the_readme_says_the_same() {
    let readme = include_str!("../../core/README.md");
    let row = |module: &str| {
        let start = format!("| [`{module}`] |");
        let mut rows = readme.lines().filter(|line| line.starts_with(&start));
        let row = rows.next().unwrap_or_else(|| panic!("no row for {module}"));
        assert_eq!(rows.next(), None, "two rows for {module}");
        row.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>()
    };
    for (module, client, server) in SIZES {
        let [_, _, said_client, said_server] = row(module)[..] else { panic!("four columns") };
        assert_eq!(said_client, format!("{client} bytes"), "{module} client");
        assert_eq!(said_server, format!("{server} bytes"), "{module} server");
    }
}

#[test]
fn its_flash_is_what_the_proofs_measure() {
    let readme = include_str!("../../core/README.md");
    let budget = include_str!("../proofs/budget.toml");
    let (small, smaller) = budget.split_once("[z]").expect("opt-levels s and z");
    let bytes = |table: &str, image: &str| {
        let line = table.lines().find_map(|line| line.strip_prefix(image)?.strip_prefix(" = "));
        line.unwrap_or_else(|| panic!("no budget for {image}")).to_owned()
    };
    let images =
        ["math_client", "math_server", "echo_client", "echo_server", "nal_clients", "nal_servers"];
    for image in images {
        let (s, z) = (bytes(small, image), bytes(smaller, image));
        let row = format!("| {} | {s} | {z} |", image.replace('_', " "));
        assert!(readme.lines().any(|line| line == row), "the README lacks {row:?}");
    }
}

#[test]
fn so_do_the_machines_own_words() {
    // "The client's end. 8 bytes." and the like: the number before the word.
    for (source, size) in [
        (include_str!("../../core/src/math/client.rs"), SIZES[0].1),
        (include_str!("../../core/src/math/server.rs"), SIZES[0].2),
        (include_str!("../../core/src/echo/client.rs"), SIZES[1].1),
        (include_str!("../../core/src/echo/server.rs"), SIZES[1].2),
    ] {
        let said = source.lines().find_map(|line| {
            let words: Vec<&str> = line.strip_prefix("/// The ")?.split_whitespace().collect();
            let at = words.iter().position(|word| word.starts_with("bytes"))?;
            words.get(at.checked_sub(1)?)?.parse::<usize>().ok()
        });
        assert_eq!(said, Some(size));
    }
}
