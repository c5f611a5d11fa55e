//! bpf(2): loading a device program and attaching it to a cgroup.

#![allow(unsafe_code)]

use super::{Errno, check};
use crate::error::{Error, ErrorKind, Result};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// One instruction of an eBPF program (`struct bpf_insn`).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Class, operation and source of the operand.
    pub code: u8,
    /// Destination register in the low four bits, source register in the high four.
    pub registers: u8,
    /// Distance of a jump, from the instruction after it, or offset of a load.
    pub offset: i16,
    /// Immediate operand.
    pub immediate: i32,
}

impl Instruction {
    /// An instruction on the registers `target` and `source`, each 0 to 10.
    pub const fn new(code: u8, target: u8, source: u8, offset: i16, immediate: i32) -> Self {
        Self { code, registers: (target & 0xf) | source << 4, offset, immediate }
    }
}

/// Codes of the instructions that device programs are made of; see the kernel's
/// `Documentation/bpf/standardization/instruction-set.rst`.
pub mod code {
    /// `target = *(u32 *)(source + offset)`.
    pub const LOAD_32: u8 = 0x61;
    /// `target = immediate` with 64 bits: takes two instructions, of which the second holds the high half.
    pub const LOAD_IMMEDIATE_64: u8 = 0x18;
    /// `target = immediate`.
    pub const MOVE_IMMEDIATE: u8 = 0xb7;
    /// `target = source`.
    pub const MOVE: u8 = 0xbf;
    /// `target &= immediate`.
    pub const AND_IMMEDIATE: u8 = 0x57;
    /// `target |= source`.
    pub const OR: u8 = 0x4f;
    /// `target <<= immediate`.
    pub const SHIFT_LEFT_IMMEDIATE: u8 = 0x67;
    /// `target >>= immediate`, without sign.
    pub const SHIFT_RIGHT_IMMEDIATE: u8 = 0x77;
    /// Jump.
    pub const JUMP: u8 = 0x05;
    /// Jump if `target == source`.
    pub const JUMP_EQUAL: u8 = 0x1d;
    /// Jump if `target == immediate`, comparing the low 32 bits.
    pub const JUMP_EQUAL_IMMEDIATE_32: u8 = 0x16;
    /// Jump if `target != immediate`.
    pub const JUMP_UNEQUAL_IMMEDIATE: u8 = 0x55;
    /// Jump if `target & immediate`.
    pub const JUMP_BITS_IMMEDIATE: u8 = 0x45;
    /// End with the verdict in register 0.
    pub const EXIT: u8 = 0x95;
}

const PROG_LOAD: libc::c_long = 5;
const PROG_ATTACH: libc::c_long = 8;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_TYPE_CGROUP_DEVICE: u32 = 6;
/// Programs of ancestors and of others stay: all must allow.
const ALLOW_MULTI: u32 = 2;
/// Bytes of the verifier's log that we ask for after a failure; only its end goes into the error.
const LOG_SIZE: u32 = 64 * 1024;
/// How often a load is repeated that the kernel breaks off with EAGAIN because a signal waits; as in libbpf.
const LOAD_ATTEMPTS: u32 = 5;

/// The member of `union bpf_attr` that `BPF_PROG_LOAD` reads, up to what we set.
#[repr(C)]
struct LoadAttributes {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

/// The member of `union bpf_attr` that `BPF_PROG_ATTACH` reads.
#[repr(C)]
struct AttachAttributes {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
}

/// Loads a program that decides on access to devices (`BPF_PROG_TYPE_CGROUP_DEVICE`).
///
/// # Errors
/// EPERM without CAP_BPF in the initial user namespace. What the verifier refuses is told with the end of its log.
pub fn load_device_program(program: &[Instruction]) -> Result<OwnedFd> {
    let mut failure = Errno::EAGAIN;
    for _ in 0..LOAD_ATTEMPTS {
        match load(program, &mut []) {
            Err(errno @ Errno::EAGAIN) => failure = errno,
            Err(errno @ (Errno::EPERM | Errno::ENOSYS)) => return Err(Error::sys("bpf(PROG_LOAD)", errno)),
            Err(errno) => return Err(with_log(program, errno)),
            Ok(fd) => return Ok(fd),
        }
    }
    Err(Error::sys("bpf(PROG_LOAD)", failure))
}

/// The log costs time, so it is written only when the same load has failed without one.
fn with_log(program: &[Instruction], errno: Errno) -> Error {
    let mut log = vec![0; LOG_SIZE as usize];
    match load(program, &mut log) {
        Ok(_) => Error::sys("bpf(PROG_LOAD)", errno),
        Err(errno) => {
            let text = String::from_utf8_lossy(&log);
            let lines: Vec<_> = text.trim_end_matches('\0').lines().filter(|line| !line.is_empty()).collect();
            let end = lines[lines.len().saturating_sub(3)..].join("; ");
            Error::sys(format!("bpf(PROG_LOAD): the verifier says: {end}"), errno).of_kind(ErrorKind::Unsupported)
        }
    }
}

fn load(program: &[Instruction], log: &mut [u8]) -> std::result::Result<OwnedFd, Errno> {
    let mut name = [0; 16];
    name[..13].copy_from_slice(b"onggi_devices");
    let attributes = LoadAttributes {
        program_type: PROG_TYPE_CGROUP_DEVICE,
        instruction_count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        // No function of the kernel is called, so its license does not matter to the kernel; but there must be one.
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: u32::from(!log.is_empty()),
        log_size: log.len() as u32,
        log: if log.is_empty() { 0 } else { log.as_mut_ptr() as u64 },
        kernel_version: 0,
        flags: 0,
        name,
    };
    // SAFETY: `attributes` has the layout of the first 64 bytes of `union bpf_attr`, and the program, the license and
    // the log that it points to live until the call returns, with the lengths given.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const attributes, size_of_val(&attributes)) };
    if fd == -1 {
        return Err(Errno::last());
    }
    // SAFETY: the kernel returned a new descriptor (close-on-exec, as all of bpf's), which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Attaches `program` to the cgroup directory `cgroup`, besides those that are attached there or above. It stays until
/// the cgroup is removed.
pub fn attach_device_program(cgroup: impl AsFd, program: impl AsFd) -> Result<()> {
    let attributes = AttachAttributes {
        target: cgroup.as_fd().as_raw_fd() as u32,
        program: program.as_fd().as_raw_fd() as u32,
        attach_type: ATTACH_TYPE_CGROUP_DEVICE,
        flags: ALLOW_MULTI,
    };
    // SAFETY: `attributes` has the layout of the first 16 bytes of `union bpf_attr` for this command.
    let result = unsafe { libc::syscall(libc::SYS_bpf, PROG_ATTACH, &raw const attributes, size_of_val(&attributes)) };
    check(result, || "bpf(PROG_ATTACH)".to_owned()).map(drop)
}
