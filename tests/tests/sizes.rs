//! The sizes a user counts on, and that the README's table says the truth about them.

use std::mem::size_of;

use socklab_core::{add, chat, coin, echo, file, guess, hello, math, rps};

/// Module, client, server.
const SIZES: [(&str, usize, usize); 9] = [
    ("math", size_of::<math::Client>(), size_of::<math::Server>()),
    ("add", size_of::<add::Client>(), size_of::<add::Server>()),
    ("file", size_of::<file::Client>(), size_of::<file::Server>()),
    ("echo", size_of::<echo::Client>(), size_of::<echo::Server>()),
    ("hello", size_of::<hello::Client>(), size_of::<hello::Server>()),
    ("chat", size_of::<chat::Chat>(), size_of::<chat::Chat>()),
    ("coin", size_of::<coin::Client>(), size_of::<coin::Server>()),
    ("guess", size_of::<guess::Client>(), size_of::<guess::Server>()),
    ("rps", size_of::<rps::Client>(), size_of::<rps::Server>()),
];

#[test]
fn machines_are_as_small_as_promised() {
    assert_eq!(size_of::<math::Client>(), 8);
    assert_eq!(size_of::<math::Server>(), 12);
    for (module, client, server) in SIZES {
        assert!(client <= 40 && server <= 40, "{module}: {client} and {server} bytes");
    }
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
    let images = small.lines().filter_map(|line| line.split_once(" = ")).map(|(image, _)| image);
    let images: Vec<&str> = images.filter(|image| *image != "nal").collect();
    assert!(images.len() > 19, "{images:?}");
    for image in images {
        let (s, z) = (bytes(small, image), bytes(smaller, image));
        let row = format!("| {} | {s} | {z} |", image.replace('_', " "));
        assert!(readme.lines().any(|line| line == row), "the README lacks {row:?}");
    }
}

#[test]
fn so_do_the_machines_own_words() {
    let sources = [
        [
            include_str!("../../core/src/math/client.rs"),
            include_str!("../../core/src/math/server.rs"),
        ],
        [
            include_str!("../../core/src/add/client.rs"),
            include_str!("../../core/src/add/server.rs"),
        ],
        [
            include_str!("../../core/src/file/client.rs"),
            include_str!("../../core/src/file/server.rs"),
        ],
        [
            include_str!("../../core/src/echo/client.rs"),
            include_str!("../../core/src/echo/server.rs"),
        ],
        [
            include_str!("../../core/src/hello/client.rs"),
            include_str!("../../core/src/hello/server.rs"),
        ],
        [include_str!("../../core/src/chat.rs"); 2],
        [
            include_str!("../../core/src/coin/client.rs"),
            include_str!("../../core/src/coin/server.rs"),
        ],
        [
            include_str!("../../core/src/guess/client.rs"),
            include_str!("../../core/src/guess/server.rs"),
        ],
        [
            include_str!("../../core/src/rps/client.rs"),
            include_str!("../../core/src/rps/server.rs"),
        ],
    ];
    for ((module, client, server), [one, two]) in SIZES.into_iter().zip(sources) {
        assert_eq!(said(one), Some(client), "{module} client");
        assert_eq!(said(two), Some(server), "{module} server");
    }
}

/// "The client's end. 8 bytes." and the like: the number before the word.
fn said(source: &str) -> Option<usize> {
    source.lines().find_map(|line| {
        let line = line.strip_prefix("/// The ").or_else(|| line.strip_prefix("/// One "))?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words.iter().position(|word| word.starts_with("bytes"))?;
        words.get(at.checked_sub(1)?)?.parse().ok()
    })
}
