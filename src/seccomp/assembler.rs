//! Writes a BPF program from its end to its start.
//!
//! BPF jumps only go forward, so in this direction every target is known before the jump to it, and a target that is
//! out of a conditional jump's reach (8 bits) gets a stepping stone on the spot.

use seccompiler::sock_filter;
use std::collections::HashMap;

// Instruction codes, from linux/bpf_common.h; the crate keeps its own private.
/// Load the word of `seccomp_data` at offset k: `BPF_LD | BPF_W | BPF_ABS`.
pub(super) const LOAD: u16 = 0x20;
/// Jump k instructions: `BPF_JMP | BPF_JA`.
pub(super) const JUMP: u16 = 0x05;
/// Jump if equal to k: `BPF_JMP | BPF_JEQ | BPF_K`.
pub(super) const IF_EQUAL: u16 = 0x15;
/// Jump if greater than or equal to k: `BPF_JMP | BPF_JGE | BPF_K`.
pub(super) const IF_AT_LEAST: u16 = 0x35;
/// Jump if any bit of k is set: `BPF_JMP | BPF_JSET | BPF_K`.
pub(super) const IF_ANY_BIT: u16 = 0x45;
/// Keep the bits of k: `BPF_ALU | BPF_AND | BPF_K`.
pub(super) const AND: u16 = 0x54;
/// Copy the accumulator to the index register: `BPF_MISC | BPF_TAX`.
pub(super) const TO_INDEX: u16 = 0x07;
/// Load k itself: `BPF_LD | BPF_IMM`.
pub(super) const LOAD_VALUE: u16 = 0x00;
/// Shift left by the index register: `BPF_ALU | BPF_LSH | BPF_X`.
pub(super) const SHIFT_LEFT: u16 = 0x6c;
/// Return k: `BPF_RET | BPF_K`.
pub(super) const RETURN: u16 = 0x06;

/// How far a conditional jump goes, less the one instruction by which its other target's stepping stone moves it.
const REACH: usize = 254;

/// A place in the program: how many instructions follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label(usize);

/// Where a jump goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// To a place.
    At(Label),
    /// To an instruction that returns this; one within reach is shared, or else made.
    Return(u32),
}

/// A program in the making.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    /// The last instruction first.
    reversed: Vec<sock_filter>,
    /// The return instruction for each value that was made last.
    returns: HashMap<u32, Label>,
}

impl Assembler {
    /// Puts one instruction before all others, without jump offsets.
    pub(super) fn put(&mut self, code: u16, k: u32) -> Label {
        self.put_raw(sock_filter { code, jt: 0, jf: 0, k })
    }

    /// Puts instructions, which may jump among each other and just past their end, before all others.
    /// None when there are none.
    pub(super) fn put_block(&mut self, block: impl DoubleEndedIterator<Item = sock_filter>) -> Option<Label> {
        block.rev().map(|instruction| self.put_raw(instruction)).last()
    }

    /// Puts a conditional jump before all others.
    pub(super) fn branch(&mut self, code: u16, k: u32, yes: Target, no: Target) -> Label {
        let yes = self.in_reach(yes);
        let no = self.in_reach(no);
        // In reach means that both offsets fit, the first even after the second's stepping stone.
        let offset = |label| u8::try_from(self.distance(label)).unwrap_or(u8::MAX);
        let (jt, jf) = (offset(yes), offset(no));
        self.put_raw(sock_filter { code, jt, jf, k })
    }

    /// Makes sure that what is put next continues at `target`.
    pub(super) fn continue_at(&mut self, target: Target) {
        match target {
            Target::Return(value) => drop(self.make_return(value)),
            Target::At(label) if self.distance(label) == 0 => {}
            Target::At(label) => drop(self.make_jump(label)),
        }
    }

    /// The program in the kernel's order.
    pub(super) fn finish(mut self) -> Vec<sock_filter> {
        self.reversed.reverse();
        self.reversed
    }

    fn put_raw(&mut self, instruction: sock_filter) -> Label {
        self.reversed.push(instruction);
        Label(self.reversed.len() - 1)
    }

    /// The number of instructions that a jump put next has to skip.
    fn distance(&self, label: Label) -> usize {
        self.reversed.len() - 1 - label.0
    }

    fn in_reach(&mut self, target: Target) -> Label {
        let known = match target {
            Target::At(label) => Some(label),
            Target::Return(value) => self.returns.get(&value).copied(),
        };
        match (known, target) {
            (Some(label), _) if self.distance(label) <= REACH => label,
            (_, Target::Return(value)) => self.make_return(value),
            (_, Target::At(label)) => self.make_jump(label),
        }
    }

    fn make_return(&mut self, value: u32) -> Label {
        let label = self.put(RETURN, value);
        self.returns.insert(value, label);
        label
    }

    fn make_jump(&mut self, label: Label) -> Label {
        // Lengths of programs that the kernel takes fit by far; the compiler refuses longer ones.
        let skip = u32::try_from(self.distance(label)).unwrap_or(u32::MAX);
        self.put(JUMP, skip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(assembler: Assembler) -> Vec<(u16, u8, u8, u32)> {
        assembler.finish().into_iter().map(|it| (it.code, it.jt, it.jf, it.k)).collect()
    }

    #[test]
    fn returns_are_shared() {
        let mut assembler = Assembler::default();
        let inner = assembler.branch(IF_EQUAL, 5, Target::Return(1), Target::Return(2));
        assembler.branch(IF_AT_LEAST, 9, Target::Return(2), Target::At(inner));
        let expected = [(IF_AT_LEAST, 1, 0, 9), (IF_EQUAL, 1, 0, 5), (RETURN, 0, 0, 2), (RETURN, 0, 0, 1)];
        assert_eq!(shape(assembler), expected);
    }

    #[test]
    fn far_targets_get_stepping_stones() {
        let mut assembler = Assembler::default();
        let end = assembler.put(RETURN, 1);
        for _ in 0..254 {
            assembler.put(LOAD, 0);
        }
        assembler.branch(IF_EQUAL, 5, Target::At(end), Target::At(end));
        assembler.put(LOAD, 0);
        assembler.branch(IF_EQUAL, 6, Target::At(end), Target::Return(1));
        let shape = shape(assembler);
        assert_eq!(shape[..2], [(IF_EQUAL, 1, 0, 6), (RETURN, 0, 0, 1)]);
        assert_eq!(shape[2..5], [(JUMP, 0, 0, 256), (LOAD, 0, 0, 0), (IF_EQUAL, 254, 254, 5)]);
    }
}
