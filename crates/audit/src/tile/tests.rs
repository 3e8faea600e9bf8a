use super::*;
use crate::merkle::root_of;
use proptest::prelude::*;

#[test]
fn paths_are_those_of_the_specification() {
    let check = |content, number, width, path: &str| {
        let tile = Tile { content, number, width };
        assert_eq!(tile.to_string(), path);
        assert_eq!(Tile::parse(path), Some(tile));
    };
    check(Content::Level(0), 0, 256, "tile/0/000");
    check(Content::Level(1), 1_234_067, 256, "tile/1/x001/x234/067");
    check(Content::Entries, 1_000, 5, "tile/entries/x001/000.p/5");
    check(Content::Level(7), 273, 112, "tile/7/273.p/112");
    for path in [
        "tile/0/0",
        "tile/0/001.p/0",
        "tile/0/001.p/256",
        "tile/0/x000/001",
        "tile/8/000",
        "tile/00/000",
        "tile/0/001.p/07",
        "tile/0/001/002",
        "tile/entries",
        "tile/0/001.p",
        "tile/0/-01",
        "checkpoint",
    ] {
        assert_eq!(Tile::parse(path), None, "{path}");
    }
}

#[test]
fn the_right_edge_has_the_root_of_all_leaves() {
    let mut edge = Edge::default();
    let mut leaves = Vec::new();
    assert_eq!(edge.root(), root_of(&[]));
    for index in 0..66_000_u64 {
        let entry = index.to_be_bytes();
        leaves.push(leaf_hash(&entry));
        let full = edge.push(&entry);
        let (leaf, hash) = (full.len() as u64, index + 1);
        assert_eq!(
            leaf,
            if hash % 65_536 == 0 {
                3
            } else if hash % 256 == 0 {
                2
            } else {
                0
            }
        );
        if index < 300 || index % 9001 == 0 || (65_534..65_537).contains(&index) {
            assert_eq!(edge.root(), root_of(&leaves), "{hash}");
        }
    }
    let names: Vec<String> = edge.partials().iter().map(|(tile, _)| tile.to_string()).collect();
    assert_eq!(names, ["tile/0/257.p/208", "tile/1/001.p/1", "tile/2/000.p/1", "tile/entries/257.p/208"]);
}

proptest! {
    #[test]
    fn every_tile_path_reads_back(level in 0_u32..8, number: u64, width in 1_u64..=256) {
        let tile = Tile { content: Content::Level(level), number, width };
        prop_assert_eq!(Tile::parse(&tile.to_string()), Some(tile));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "tile/(entries|[0-9]{1,2})(/x?[0-9]{1,4}){0,8}(\\.p/[0-9]{0,4})?") {
        if let Some(tile) = Tile::parse(&text) {
            prop_assert_eq!(tile.to_string(), text);
        }
    }

    #[test]
    fn any_bytes_are_a_bundle_or_not(bytes: Vec<u8>) {
        if let Some(entries) = entries_of(&bytes) {
            prop_assert_eq!(entries.iter().map(|entry| entry.len() + 2).sum::<usize>(), bytes.len());
        }
    }
}
