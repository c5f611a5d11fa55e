// peak OUTPUT PROGRAM [ARGUMENTS]: runs a program and writes the greatest resident set of any of its processes, in KiB.
// The kernel counts what a process had before its exec, so whoever starts it must be small: this is.
#include <spawn.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>

extern char **environ;

int main(int count, char **words) {
    pid_t pid;
    int status;
    struct rusage usage;
    if (count < 3 || posix_spawn(&pid, words[2], NULL, NULL, words + 2, environ) != 0)
        return 127;
    if (wait4(pid, &status, 0, &usage) != pid || status != 0)
        return 126;
    FILE *output = fopen(words[1], "w");
    return output == NULL || fprintf(output, "%ld\n", usage.ru_maxrss) < 0 || fclose(output) != 0;
}
