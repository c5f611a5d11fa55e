// The program of the gate's containers: one system call, so that the counts are the runtime's, whatever BusyBox there is.
#include <sys/syscall.h>

void _start(void) {
    __asm__ volatile("syscall" : : "a"(SYS_exit_group), "D"(0) : "rcx", "r11", "memory");
    __builtin_unreachable();
}
