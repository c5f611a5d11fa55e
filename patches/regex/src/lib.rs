//! regex-lite under the name of regex. oci-spec matches one pattern of ASCII digits (`execCPUAffinity`); the engines and
//! the Unicode tables that `regex` brings along for it would be a quarter of onggi.

pub use regex_lite::*;
