//! `linux.resources.hugepageLimits`.

use super::{IfMissing, List, refused};
use crate::error::Result;
use oci_spec::runtime::LinuxHugepageLimit;

/// The limit holds for pages in use and, where the kernel has that (5.7), for those reserved.
pub(super) fn plan(list: &mut List, index: usize, limit: &LinuxHugepageLimit) -> Result<()> {
    let field = format!("hugepageLimits[{index}]");
    let size = limit.page_size();
    // It becomes part of a file name: runc 1.1.10 closed a way to write other files by it.
    let number = size.strip_suffix("KB").or_else(|| size.strip_suffix("MB")).or_else(|| size.strip_suffix("GB"));
    let well_formed = number.is_some_and(|digits| {
        digits.starts_with(|first: char| matches!(first, '1'..='9')) && digits.bytes().all(|byte| byte.is_ascii_digit())
    });
    if !well_formed {
        return Err(refused(format!("{field}.pageSize"), format!("{size:?} is not a size such as 2MB or 1GB")));
    }
    if limit.limit() < 0 {
        return Err(refused(format!("{field}.limit"), format!("{} is not a number of bytes", limit.limit())));
    }
    list.set(format!("hugetlb.{size}.max"), limit.limit(), &field);
    list.push(format!("hugetlb.{size}.rsvd.max"), limit.limit().to_string(), &field, IfMissing::Skip);
    Ok(())
}
