//! Every message type has the family that the table names, and the table has no overlaps.

use hyphal_core::wire::family::Family;

#[test]
fn every_message_type_has_its_family() {
    let named = [
        Family::Application,
        Family::Heartbeat,
        Family::Status,
        Family::Configuration,
        Family::Health,
        Family::Consensus,
        Family::Spore,
        Family::Service,
        Family::Resource,
        Family::Economic,
        Family::Security,
        Family::Synchronisation,
        Family::Coordination,
        Family::Delivery,
    ];

    for message_type in 0..=u16::MAX {
        let expected = match message_type {
            0..=0x0DFF => Some(named[usize::from(message_type >> 8)]),
            0x0E00..=0x0FFF => None,
            0x1000.. => Some(Family::Application),
        };
        assert_eq!(Family::of(message_type), expected, "{message_type:#06x}");
    }
}

#[test]
fn the_ranges_are_in_order_and_do_not_overlap() {
    for pair in Family::RANGES.windows(2) {
        let [(before, ..), (after, ..)] = pair else { unreachable!() };
        assert!(before.end() < after.start());
    }
}

#[test]
fn a_family_is_shown_by_its_name() {
    assert_eq!(Family::Application.to_string(), "application");
    assert_eq!(Family::Synchronisation.to_string(), "synchronisation");
    assert!(Family::RANGES.iter().all(|(_, family, name)| family.to_string() == *name));
}
