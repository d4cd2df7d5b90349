//! The measurements with their two processes, as short as they can be: the figures are there and make sense.

use serde_json::Value;

use crate::home::Home;

#[test]
fn throughput_is_measured_with_and_without_batches() {
    let home = Home::new();
    for arguments in [&["--batch"][..], &[]] {
        let ran = home.hyphal(&[&["bench", "throughput", "--seconds", "1", "--json"], arguments].concat());

        assert_eq!(ran.code, Some(0), "{ran:?}");
        let figures: Value = serde_json::from_str(&ran.out).unwrap();
        let messages = figures["msgs_per_s"].as_f64().unwrap();
        let mebibytes = figures["mib_per_s"].as_f64().unwrap();
        assert!(messages > 0.0 && (mebibytes - messages * 64.0 / 1_048_576.0).abs() < 0.001, "{figures}");
        assert!(figures["p50_us"].is_null() && figures["p99_us"].is_null() && figures["p999_us"].is_null());
    }
}

#[test]
fn a_link_in_memory_is_measured_without_a_second_process() {
    let home = Home::new();
    for arguments in [&["throughput", "--seconds", "1"][..], &["latency", "--count", "50"]] {
        let ran = home.hyphal(&[&["bench"], arguments, &["--transport", "memory", "--json"]].concat());

        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
}

#[test]
fn empty_messages_and_the_longest_ones_are_measured() {
    let home = Home::new();
    for (size, batch) in [("0", "--batch"), ("61440", "--batch")] {
        let ran = home.hyphal(&["bench", "throughput", "--seconds", "1", "--size", size, batch]);

        assert_eq!(ran.code, Some(0), "{size}: {ran:?}");
        assert!(ran.out.contains("messages/s") && ran.out.contains("MiB/s"), "{ran:?}");
    }
}

#[test]
fn latency_is_measured_in_quantiles() {
    let ran = Home::new().hyphal(&["bench", "latency", "--count", "50", "--json"]);

    assert_eq!(ran.code, Some(0), "{ran:?}");
    let figures: Value = serde_json::from_str(&ran.out).unwrap();
    let [p50, p99, p999] = ["p50_us", "p99_us", "p999_us"].map(|name| figures[name].as_f64().unwrap());
    assert!(0.0 < p50 && p50 <= p99 && p99 <= p999, "{figures}");
    assert!(figures["msgs_per_s"].is_null() && figures["mib_per_s"].is_null());
}

#[test]
fn a_size_that_no_node_takes_is_refused() {
    let ran = Home::new().hyphal(&["bench", "latency", "--size", "16777217"]);

    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.err.contains("16777216 bytes at most"), "{ran:?}");
}
