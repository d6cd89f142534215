//! Sizes that users rely on, and whether the README and the docs state them correctly.

use std::fs;
use std::mem::size_of;
use std::path::Path;

use socklab_core::math;
use socklab_tests::generated::{check_lines, check_table};
use socklab_tests::protocols::{PROTOCOLS, Protocol};

/// Returns the sizes of the client's and the server's machine. One machine may be both.
fn sizes(protocol: &Protocol) -> Option<[usize; 2]> {
    Some([protocol.machines.first()?.1, protocol.machines.last()?.1])
}

#[test]
fn machines_have_the_documented_sizes() {
    assert_eq!(size_of::<math::Client>(), 8);
    assert_eq!(size_of::<math::Server>(), 12);
    for protocol in PROTOCOLS {
        // A client over datagrams contains an address of 32 bytes and counters of 40.
        let limit = if protocol.is_datagrams { 40 + 32 + 40 + 4 } else { 40 };
        for (machine, size) in protocol.machines {
            assert!(*size <= limit, "{machine}: {size} bytes");
        }
    }
}

#[test]
fn the_readme_states_the_sizes_of_the_machines() {
    let rows = PROTOCOLS.iter().map(|protocol| {
        let bytes = |size| if size == 1 { "1 byte".to_owned() } else { format!("{size} bytes") };
        let sizes = sizes(protocol).map(|sizes| sizes.map(bytes));
        let [client, server] = sizes.unwrap_or_else(|| ["none", "none"].map(str::to_owned));
        format!("| [`{}`] | {} | {client} | {server} |", protocol.name, protocol.summary)
    });
    let head = "| module | what it is | client | server |";
    check_table("core/README.md", head, &rows.collect::<Vec<_>>())
        .unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn the_readme_has_a_link_to_each_protocol() {
    let of_each = |link: fn(&str) -> String| -> Vec<String> {
        PROTOCOLS.iter().map(|protocol| link(protocol.name)).collect()
    };
    let links = of_each(|name| {
        format!("[`{name}`]: https://docs.rs/socklab-core/latest/socklab_core/{name}/index.html")
    });
    let before = "[`set_timeout`]: https://docs.rs/socklab-core/latest/socklab_core/driver/nonblocking/struct.Server.html#method.set_timeout";
    let in_readme = check_lines("core/README.md", before, |line| line.starts_with("[`"), &links);
    // Rustdoc checks these links where it shows the README.
    let links = of_each(|name| format!("//! [`{name}`]: mod@{name}"));
    let is_link = |line: &str| line.starts_with("//! [`") && line.contains("mod@");
    let in_docs = check_lines("core/src/lib.rs", "//! [driver]: mod@driver", is_link, &links);
    in_readme.and(in_docs).unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn the_readme_states_the_flash_sizes_of_the_budget() {
    let budget = include_str!("../proofs/budget.toml");
    let (small, smaller) = budget.split_once("\n[z]\n").expect("opt-levels s and z");
    let (_, small) = small.split_once("\n[s]\n").expect("opt-levels s and z");
    let table = |text: &'static str| -> Vec<(&str, &str)> {
        text.lines().filter_map(|line| line.split_once(" = ")).collect()
    };
    let (small, smaller) = (table(small), table(smaller));
    let machines = PROTOCOLS.iter().flat_map(|protocol| protocol.machines).map(|(name, _)| *name);
    let driven = ["every_machine", "nal_clients", "nal_servers", "nal", "nal_datagrams", "pack"];
    let images = machines.chain(driven);
    // Those are stated in the header.
    let for_c = ["c_math_client", "c_chat", "c"];
    let images = images.chain(for_c);
    let images: Vec<&str> = images.collect();
    for (level, table) in [("s", &small), ("z", &smaller)] {
        let measured: Vec<&str> = table.iter().map(|(image, _)| *image).collect();
        assert_eq!(
            measured, images,
            "tests/proofs/budget.toml, opt-level {level}: UPDATE_SNAPSHOTS=1 tests/proofs/run flash measures \
             what is missing"
        );
    }
    let rows = small
        .iter()
        .zip(&smaller)
        .filter(|((image, _), _)| *image != "nal" && !for_c.contains(image));
    let rows =
        rows.map(|((image, s), (_, z))| format!("| {} | {s} | {z} |", image.replace('_', " ")));
    let head = "| image | opt-level s | opt-level z |";
    check_table("core/README.md", head, &rows.collect::<Vec<_>>())
        .unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn the_docs_of_the_machines_state_their_sizes() {
    let core = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/src");
    for protocol in PROTOCOLS {
        for (machine, size) in protocol.machines {
            let side = machine.trim_start_matches(protocol.name).trim_start_matches('_');
            let files = [format!("{}/{side}.rs", protocol.name), format!("{}.rs", protocol.name)];
            let source = files.iter().find_map(|file| fs::read_to_string(core.join(file)).ok());
            let source = source.unwrap_or_else(|| panic!("no source of {machine} among {files:?}"));
            assert_eq!(documented_size(&source), Some(*size), "{machine}");
        }
    }
}

/// Returns the number before the word "bytes" in a first doc line such as "Client of the math quiz. 8
/// bytes."
fn documented_size(source: &str) -> Option<usize> {
    source.lines().find_map(|line| {
        let words: Vec<&str> = line.strip_prefix("/// ")?.split_whitespace().collect();
        let at = words.iter().position(|word| word.starts_with("byte"))?;
        words.get(at.checked_sub(1)?)?.parse().ok()
    })
}
