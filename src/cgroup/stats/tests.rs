//! Each file as the kernel writes it, and what becomes of it.

#![allow(clippy::unwrap_used)]

use super::{Files, Stats};
use serde_json::{Value, json};

/// The files of a cgroup with every controller (Linux 6.12), shortened where a file goes on alike.
const ALL: [(&str, &str); 18] = [
    (
        "cpu.stat",
        "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\nnice_usec 0\ncore_sched.force_idle_usec 0\nnr_periods 7\n\
         nr_throttled 3\nthrottled_usec 250\nnr_bursts 0\nburst_usec 0\n",
    ),
    (
        "cpu.pressure",
        "some avg10=12.30 avg60=1.00 avg300=0.05 total=8800\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n",
    ),
    ("memory.stat", "anon 4096\nfile 8192\nkernel 100\nworkingset_refault_anon 0\n"),
    ("memory.current", "16384\n"),
    ("memory.max", "33554432\n"),
    ("memory.peak", "20480\n"),
    ("memory.events", "low 0\nhigh 0\nmax 12\noom 2\noom_kill 1\noom_group_kill 0\n"),
    ("memory.swap.current", "4096\n"),
    ("memory.swap.max", "1000\n"),
    (
        "memory.pressure",
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=5\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
    ),
    ("pids.current", "2\n"),
    ("pids.max", "100\n"),
    (
        "io.stat",
        "8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0\n\
         0:45 rbytes=0 wbytes=512 rios=0 wios=1 dbytes=0 dios=0 cost.vrate=100.00\n",
    ),
    ("io.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"),
    ("hugetlb.2MB.current", "2097152\n"),
    ("hugetlb.2MB.rsvd.current", "4194304\n"),
    ("hugetlb.2MB.events", "max 4\n"),
    ("hugetlb.2MB.events.local", "max 9\n"),
];

fn files(files: &[(&str, &str)]) -> Files {
    Files(files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect())
}

fn document(texts: &[(&str, &str)]) -> Value {
    serde_json::to_value(files(texts).stats().unwrap()).unwrap()
}

fn check(texts: &[(&str, &str)], pointer: &str, expected: &Value) {
    assert_eq!(document(texts).pointer(pointer).unwrap_or(&Value::Null), expected, "{pointer} of {texts:?}");
}

/// Byte for byte: order of keys, what is left out, how numbers are written.
#[test]
fn whole_document() {
    let expected = concat!(
        r#"{"cpu":{"usage":{"total":1500000,"kernel":500000,"user":1000000},"#,
        r#""throttling":{"periods":7,"throttledPeriods":3,"throttledTime":250000},"#,
        r#""psi":{"some":{"avg10":12.3,"avg60":1,"avg300":0.05,"total":8800},"#,
        r#""full":{"avg10":0,"avg60":0,"avg300":0,"total":1}}},"#,
        r#""cpuset":{"cpu_exclusive":0,"mem_hardwall":0,"mem_exclusive":0,"memory_migrate":0,"memory_spread_page":0,"#,
        r#""memory_spread_slab":0,"memory_pressure":0,"sched_load_balance":0,"sched_relax_domain_level":0},"#,
        r#""memory":{"cache":8192,"usage":{"limit":33554432,"usage":16384,"max":20480,"failcnt":12},"#,
        r#""swap":{"limit":33555432,"usage":20480,"failcnt":0},"#,
        r#""raw":{"anon":4096,"file":8192,"kernel":100,"workingset_refault_anon":0},"#,
        r#""psi":{"some":{"avg10":0,"avg60":0,"avg300":0,"total":5}}},"#,
        r#""pids":{"current":2,"limit":100},"#,
        r#""blkio":{"ioServiceBytesRecursive":[{"major":8,"minor":16,"op":"Read","value":1459200},"#,
        r#"{"major":8,"minor":16,"op":"Write","value":314773504},{"minor":45,"op":"Read"},"#,
        r#"{"minor":45,"op":"Write","value":512}],"#,
        r#""ioServicedRecursive":[{"major":8,"minor":16,"op":"Read","value":192},"#,
        r#"{"major":8,"minor":16,"op":"Write","value":353},{"minor":45,"op":"Read"},"#,
        r#"{"minor":45,"op":"Write","value":1}],"psi":{}},"#,
        r#""hugetlb":{"2MB":{"usage":4194304,"failcnt":4}},"intel_rdt":{},"network_interfaces":null}"#,
    );
    assert_eq!(serde_json::to_string(&files(&ALL).stats().unwrap()).unwrap(), expected);
}

/// Without any controller the kernel keeps the time and, perhaps, the pressure.
#[test]
fn without_controllers() {
    let mut none = document(&[]);
    assert_eq!(none["cpuset"].as_object_mut().unwrap().len(), 9);
    none["cpuset"].take();
    let expected = json!({"cpu": {}, "cpuset": null, "memory": {}, "pids": {}, "blkio": {}, "hugetlb": {},
        "intel_rdt": {}, "network_interfaces": null});
    assert_eq!(none, expected);
    let time = [("cpu.stat", "usage_usec 5\nuser_usec 0\nsystem_usec 5\n")];
    check(&time, "/cpu", &json!({"usage": {"total": 5000, "kernel": 5000, "user": 0}}));
    check(
        &[("memory.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=3\n")],
        "/memory/psi/some/total",
        &json!(3),
    );
}

#[test]
fn memory() {
    let with =
        |more: &[(&'static str, &'static str)]| [&[("memory.current", "10\n"), ("memory.stat", "")], more].concat();
    let entry = |limit: u64, usage: u64| json!({"limit": limit, "usage": usage, "failcnt": 0});
    // No limit, and no accounting of swap.
    let free = with(&[("memory.max", "max\n")]);
    check(&free, "/memory/usage", &entry(u64::MAX, 10));
    check(&free, "/memory/swap", &entry(u64::MAX, 10));
    check(&free, "/memory/raw", &Value::Null);
    // The sum never goes round.
    let swap = |limit| [("memory.swap.current", "5\n"), ("memory.swap.max", limit)];
    check(&with(&[&[("memory.max", "max\n")][..], &swap("7\n")].concat()), "/memory/swap", &entry(u64::MAX, 15));
    check(&with(&[&[("memory.max", "20\n")][..], &swap("max\n")].concat()), "/memory/swap", &entry(u64::MAX, 15));
    check(&with(&[&[("memory.max", "20\n")][..], &swap("0\n")].concat()), "/memory/swap", &entry(20, 15));
}

#[test]
fn pids() {
    check(&[("pids.current", "3\n"), ("pids.max", "max\n")], "/pids", &json!({"current": 3}));
    check(&[("pids.current", "0\n"), ("pids.max", "5\n")], "/pids", &json!({"limit": 5}));
}

#[test]
fn block_devices() {
    let bytes = "/blkio/ioServiceBytesRecursive";
    check(&[("io.stat", "7:1 \n8:0 rbytes=5\n")], bytes, &json!([{"major": 8, "op": "Read", "value": 5}]));
    let crowded = [("io.stat", "7:7 7:6 8:16 rbytes=5 cost.usage=?\n")];
    check(&crowded, bytes, &json!([{"major": 8, "minor": 16, "op": "Read", "value": 5}]));
    check(&[("io.stat", "")], "/blkio", &json!({}));
}

#[test]
fn huge_pages() {
    let plain = [("hugetlb.1GB.current", "1073741824\n"), ("hugetlb.1GB.events", "max 0\n")];
    check(&plain, "/hugetlb", &json!({"1GB": {"usage": 1_073_741_824_u64, "failcnt": 0}}));
    let unused =
        [("hugetlb.2MB.current", "0\n"), ("hugetlb.2MB.rsvd.current", "0\n"), ("hugetlb.2MB.events", "max 0\n")];
    check(&unused, "/hugetlb", &json!({"2MB": {"failcnt": 0}}));
}

#[test]
fn strange_texts_are_refused_with_the_file() {
    let check = |file: &str, text: &str| {
        let error = files(&[("memory.current", "1"), (file, text)]).stats().unwrap_err().to_string();
        assert!(error.starts_with(&format!("{file} of the container's cgroup")), "{error}");
    };
    for (file, text) in [
        ("cpu.stat", "usage_usec\n"),
        ("cpu.stat", "usage_usec -1\n"),
        ("memory.current", "lots\n"),
        ("memory.stat", "anon 1 2\n"),
        ("pids.max", "\n"),
        ("io.stat", "sda rbytes=1\n"),
        ("io.stat", "8:0 rbytes=x\n"),
        ("io.pressure", "most avg10=0.00\n"),
        ("io.pressure", "some avg10=0.00 total\n"),
        ("cpu.pressure", "some avg10=much\n"),
        ("hugetlb.2MB.events", "max x\n"),
    ] {
        check(file, text);
    }
}

#[test]
fn nothing_is_the_default() {
    assert_eq!(files(&[]).stats().unwrap(), Stats::default());
}
