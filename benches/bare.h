// Programs without a C library: `_start`, system calls by name, and what the compiler itself calls. What they cost is
// theirs alone: a static glibc takes up to 0.8 ms before `main` where the processor is virtual.
//
// The program has `int begin(int count, const char **words)`. `call(name, ...)` makes a system call and has its
// result, a negated errno at failure; `try(name, ...)` ends the program then.
#pragma once
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h> // the numbers

#ifndef __x86_64__
#error "system calls are written for x86_64 here"
#endif

#define COUNT(list) (sizeof(list) / sizeof(*(list)))
#define STANDARD_ERROR 2

static inline long system_call(long number, long a, long b, long c, long d, long e, long f) {
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
        : "+a"(number)
        : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
        : "rcx", "r11", "memory");
    return number;
}

#define SIX(number, a, b, c, d, e, f, ...) \
    system_call(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define call(name, ...) SIX(SYS_##name, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define try(name, ...) succeeded(call(name, ##__VA_ARGS__), #name)

static inline size_t length(const char *text) {
    size_t length = 0;
    while (text[length])
        length++;
    return length;
}

static inline int equal(const char *one, const char *other) {
    while (*one && *one == *other)
        one++, other++;
    return *one == *other;
}

// Writes the digits of the number, then a NUL, at the end of 12 bytes; the result is where they begin.
static inline char *decimal(unsigned number, char text[12]) {
    char *digit = text + 11;
    *digit = 0;
    do
        *--digit = '0' + number % 10;
    while (number /= 10);
    return digit;
}

static void put(const char *text) {
    call(write, STANDARD_ERROR, text, length(text));
}

static _Noreturn void end(int status) {
    call(exit_group, status);
    __builtin_unreachable();
}

static _Noreturn void fail(const char *what, long error) {
    char number[12];
    put(what);
    put(": errno ");
    put(decimal(-error, number));
    put("\n");
    end(255);
}

static inline long succeeded(long result, const char *name) {
    if (result < 0)
        fail(name, result);
    return result;
}

// The compiler sets structs to zero by this. The attribute keeps it from making a call of itself out of the loop.
__attribute__((used, optimize("no-tree-loop-distribute-patterns")))
void *memset(void *place, int byte, size_t count) {
    for (unsigned char *at = place; count; count--)
        *at++ = byte;
    return place;
}

static int begin(int count, const char **words);

// The kernel puts the count of the words on the stack, then the words, and calls nothing.
__attribute__((used)) static _Noreturn void enter(long *stack) {
    end(begin(*stack, (const char **)(stack + 1)));
}

__asm__(".globl _start\n_start: xor %ebp, %ebp\n mov %rsp, %rdi\n and $-16, %rsp\n call enter\n");
