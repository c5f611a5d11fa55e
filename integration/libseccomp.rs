//! libseccomp, loaded when it is wanted, so that nothing links it: for the comparisons in src/seccomp/equivalence.rs and
//! benches/seccomp.rs alone.

#![allow(unsafe_code, clippy::unwrap_used, reason = "tests and benches")]

use oci_spec::runtime::{Arch, LinuxSeccomp, LinuxSeccompArg, LinuxSeccompOperator as Op};
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::io::{Read, Seek};
use std::os::fd::AsRawFd;

/// An instruction as its parts: code, jt, jf, k.
pub type Instruction = (u16, u8, u8, u32);

/// `struct scmp_arg_cmp`: argument, operator, values.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Comparison {
    /// The argument.
    pub arg: c_uint,
    /// `enum scmp_compare`: NE 1, LT, LE, EQ, GE, GT, MASKED_EQ 7.
    pub op: c_int,
    /// The value, or the mask.
    pub a: u64,
    /// The value for a mask.
    pub b: u64,
}

/// The code of an instruction that returns.
const RETURN: u16 = 6;

/// Whether a program may return this: ERRNO and TRACE have data, the others none.
fn is_action(returns: u32) -> bool {
    matches!(returns >> 16, 0x5 | 0x7ff0) || returns & 0xffff == 0
}

/// `SCMP_FLTATR_CTL_OPTIMIZE`.
const OPTIMIZE: c_int = 8;

/// The library's functions.
#[derive(Debug, Clone, Copy)]
pub struct Library {
    init: extern "C" fn(u32) -> *mut c_void,
    release: extern "C" fn(*mut c_void),
    arch_add: extern "C" fn(*mut c_void, u32) -> c_int,
    arch_remove: extern "C" fn(*mut c_void, u32) -> c_int,
    attr_set: extern "C" fn(*mut c_void, c_int, u32) -> c_int,
    rule_add: extern "C" fn(*mut c_void, u32, c_int, c_uint, *const Comparison) -> c_int,
    resolve: extern "C" fn(*const c_char) -> c_int,
    resolve_arch: extern "C" fn(u32, *const c_char) -> c_int,
    export: extern "C" fn(*mut c_void, c_int) -> c_int,
}

impl Library {
    /// Loads it.
    ///
    /// # Panics
    /// When it is not installed.
    pub fn load() -> Self {
        // SAFETY: the name ends with NUL; the library's constructors do nothing but count.
        let library = unsafe { libc::dlopen(c"libseccomp.so.2".as_ptr(), libc::RTLD_NOW) };
        assert!(!library.is_null(), "libseccomp.so.2 is needed to compare with: run integration/install");
        Self {
            init: function(library, c"seccomp_init"),
            release: function(library, c"seccomp_release"),
            arch_add: function(library, c"seccomp_arch_add"),
            arch_remove: function(library, c"seccomp_arch_remove"),
            attr_set: function(library, c"seccomp_attr_set"),
            rule_add: function(library, c"seccomp_rule_add_array"),
            resolve: function(library, c"seccomp_syscall_resolve_name"),
            resolve_arch: function(library, c"seccomp_syscall_resolve_name_arch"),
            export: function(library, c"seccomp_export_bpf"),
        }
    }

    /// The number of a name; `None` for one that it does not know at all, negative for one of other architectures.
    pub fn number(self, name: &str) -> Option<i32> {
        let name = CString::new(name).unwrap();
        Some((self.resolve)(name.as_ptr())).filter(|number| *number != -1)
    }

    /// The same under the architecture of this token.
    pub fn number_under(self, arch: u32, name: &str) -> Option<i32> {
        let name = CString::new(name).unwrap();
        Some((self.resolve_arch)(arch, name.as_ptr())).filter(|number| *number != -1)
    }

    /// A filter with this default. Released when dropped.
    pub fn filter(self, default: u32) -> Filter {
        let context = (self.init)(default);
        assert!(!context.is_null(), "seccomp_init({default:#x})");
        Filter { library: self, context }
    }
}

/// A function of the library, whose type `F` must be the one in seccomp.h.
fn function<F: Copy>(library: *mut c_void, name: &CStr) -> F {
    // SAFETY: the library is loaded and the name ends with NUL.
    let found = unsafe { libc::dlsym(library, name.as_ptr()) };
    assert!(!found.is_null(), "libseccomp has no {name:?}");
    assert_eq!(size_of::<F>(), size_of_val(&found));
    // SAFETY: the address of a function of that type, which is not null.
    unsafe { std::mem::transmute_copy(&found) }
}

/// `scmp_filter_ctx`.
#[derive(Debug)]
pub struct Filter {
    library: Library,
    context: *mut c_void,
}

/// The errno, negative.
fn check(result: c_int) -> Result<(), i32> {
    if result == 0 { Ok(()) } else { Err(result) }
}

impl Filter {
    /// Adds an architecture; the native one is there.
    pub fn add_arch(&self, token: u32) -> Result<(), i32> {
        check((self.library.arch_add)(self.context, token))
    }

    /// Removes an architecture.
    pub fn remove_arch(&self, token: u32) -> Result<(), i32> {
        check((self.library.arch_remove)(self.context, token))
    }

    /// Makes a binary tree.
    pub fn optimize(&self) -> Result<(), i32> {
        check((self.library.attr_set)(self.context, OPTIMIZE, 2))
    }

    /// Adds a rule for the native number `call`.
    pub fn add_rule(&self, returns: u32, call: i32, comparisons: &[Comparison]) -> Result<(), i32> {
        let count = c_uint::try_from(comparisons.len()).unwrap();
        check((self.library.rule_add)(self.context, returns, call, count, comparisons.as_ptr()))
    }

    /// The program, which the library writes in the byte order of the machine that it is for.
    pub fn program(&self, little_endian: bool) -> Vec<Instruction> {
        let mut file = tempfile::tempfile().unwrap();
        let done = (self.library.export)(self.context, file.as_raw_fd());
        assert_eq!(done, 0, "seccomp_export_bpf");
        file.rewind().unwrap();
        let mut raw = Vec::new();
        file.read_to_end(&mut raw).unwrap();
        let native = little_endian == cfg!(target_endian = "little");
        let two = |at: &[u8]| u16::from_ne_bytes([at[0], at[1]]);
        let four = |at: &[u8]| u32::from_ne_bytes([at[4], at[5], at[6], at[7]]);
        raw.chunks_exact(8)
            .map(|it| match native {
                true => (two(it), it[2], it[3], four(it)),
                // In long programs libseccomp 2.5 forgets to swap the values of some returns.
                false if two(it).swap_bytes() == RETURN && !is_action(four(it).swap_bytes()) => {
                    (RETURN, it[2], it[3], four(it))
                }
                false => (two(it).swap_bytes(), it[2], it[3], four(it).swap_bytes()),
            })
            .collect()
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        (self.library.release)(self.context);
    }
}

/// The token of the machine that this runs on, which the library adds by itself.
const HOST: Arch = Arch::ScmpArchX86_64;
/// EEXIST, negative.
const EXISTS: i32 = -17;

/// Makes the filter of a profile as runc does, for a machine whose native architecture is `native`.
///
/// # Errors
/// The negative errno of the library.
pub fn compile(library: Library, native: Arch, spec: &LinuxSeccomp, tree: bool) -> Result<Filter, i32> {
    let default = spec.default_action().as_u32(spec.default_errno_ret());
    let filter = library.filter(default);
    if native != HOST {
        filter.remove_arch(HOST as u32)?;
        filter.add_arch(native as u32)?;
    }
    for arch in spec.architectures().iter().flatten() {
        filter.add_arch(*arch as u32).or_else(|errno| if errno == EXISTS { Ok(()) } else { Err(errno) })?;
    }
    if tree {
        filter.optimize()?;
    }
    for rule in spec.syscalls().iter().flatten() {
        let returns = rule.action().as_u32(rule.errno_ret());
        if returns == default {
            continue;
        }
        let comparisons: Vec<Comparison> = rule.args().iter().flatten().map(comparison).collect();
        let repeated =
            (1..comparisons.len()).any(|at| comparisons[..at].iter().any(|it| it.arg == comparisons[at].arg));
        for number in rule.names().iter().filter_map(|name| library.number(name)) {
            if repeated {
                comparisons.iter().try_for_each(|one| filter.add_rule(returns, number, &[*one]))?;
            } else {
                filter.add_rule(returns, number, &comparisons)?;
            }
        }
    }
    Ok(filter)
}

fn comparison(arg: &LinuxSeccompArg) -> Comparison {
    let op = match arg.op() {
        Op::ScmpCmpNe => 1,
        Op::ScmpCmpLt => 2,
        Op::ScmpCmpLe => 3,
        Op::ScmpCmpEq => 4,
        Op::ScmpCmpGe => 5,
        Op::ScmpCmpGt => 6,
        Op::ScmpCmpMaskedEq => 7,
    };
    let arg_number = c_uint::try_from(arg.index()).unwrap();
    Comparison { arg: arg_number, op, a: arg.value(), b: arg.value_two().unwrap_or(0) }
}
