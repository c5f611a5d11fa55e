//! Runs onggi from a copy of itself that no container can write to (CVE-2019-5736).
