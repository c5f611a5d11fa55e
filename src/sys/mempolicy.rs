//! set_mempolicy(2): the nodes that memory comes from.

#![allow(unsafe_code)]

use super::check;
use super::clone::InChild;
use crate::error::Result;

/// A set of nodes, bit n % 64 of word n / 64 for node n: 1024 are the most that a kernel can be configured for.
pub type Nodes = [u64; 16];

/// Sets mode and flags (`MPOL_*`) for what this process will allocate. execve keeps them.
///
/// # Errors
/// EINVAL for a mode that the kernel doesn't know, and for nodes of which the process may use none.
pub fn set(_: &InChild, mode: u32, nodes: &Nodes) -> Result<()> {
    // One more than there are bits: the kernel takes one off before it counts (`get_nodes` in mm/mempolicy.c).
    let bits = 8 * size_of_val(nodes) + 1;
    // SAFETY: the kernel reads no more bits than we state less one.
    let result = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, nodes.as_ptr(), bits) };
    check(result, || format!("set_mempolicy({mode:#x})")).map(drop)
}
