//! What the seeds of the fuzz targets mean: a role is named by a number, and numbers stay as they are.

use std::fs;
use std::path::Path;

use socklab_tests::role::{ROLES, RoleNumber};

/// Names and first bytes of the seeds of a target. Inputs that a run has found have 40 hexadecimal digits for a name.
fn seeds(target: &str) -> Vec<(String, u8)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut seeds = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name.len() != 40 || !name.bytes().all(|b| b.is_ascii_hexdigit()) {
            seeds.push((name, fs::read(entry.path()).unwrap()[0]));
        }
    }
    seeds
}

fn name(role: &RoleNumber) -> String {
    format!("{}_{}", role.protocol, role.role)
}

#[test]
fn every_seed_is_of_the_role_in_its_name() {
    for target in ["drivers", "pool", "cuts"] {
        for (seed, number) in seeds(target) {
            let role = ROLES.iter().find(|role| seed.starts_with(&name(role)));
            let role = role.unwrap_or_else(|| panic!("{target}/{seed}: the name of no role"));
            assert_eq!(number, role.number, "{target}/{seed}");
        }
    }
}

#[test]
fn every_role_has_seeds() {
    for role in ROLES {
        let (number, role_name) = (role.number, name(role));
        let has = |target: &str| seeds(target).iter().any(|(seed, _)| seed.starts_with(&role_name));
        assert!(
            has("drivers"),
            "fuzz/corpus/drivers: no seed {role_name}, with {number} as its first byte"
        );
        assert!(
            !role.is_server || has("pool"),
            "fuzz/corpus/pool: no seed {role_name}, with {number} as its first byte"
        );
    }
}

#[test]
fn no_two_roles_have_a_number() {
    for (index, role) in ROLES.iter().enumerate() {
        for other in &ROLES[..index] {
            assert_ne!(role.number, other.number, "{role:?} and {other:?}");
        }
    }
}
