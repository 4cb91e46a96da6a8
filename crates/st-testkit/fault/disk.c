/* A disk that fails on demand, for a process that is started with this library preloaded.
 *
 * While the file named by ST_FAULT exists, calls that it lists fail on files that it names. It holds
 * one line: the calls (write, fsync, ftruncate) joined by commas, the end of the files' names, and
 * the error number. For example: "write,fsync cloud.db-wal 5".
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

/* The error with which the call has to fail, or 0. */
static int fault(const char *call, int descriptor) {
    char plan[256], calls[64], suffix[128], link[64], name[4096];
    int number, plan_file;
    ssize_t length;
    const char *path = getenv("ST_FAULT");

    if (path == NULL || (plan_file = open(path, O_RDONLY | O_CLOEXEC)) < 0) return 0;
    length = read(plan_file, plan, sizeof plan - 1);
    close(plan_file);
    if (length <= 0) return 0;
    plan[length] = 0;
    if (sscanf(plan, "%63s %127s %d", calls, suffix, &number) != 3) return 0;
    if (strstr(calls, call) == NULL) return 0;

    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    length = readlink(link, name, sizeof name - 1);
    if (length < (ssize_t)strlen(suffix)) return 0;
    name[length] = 0;
    return strcmp(name + length - strlen(suffix), suffix) == 0 ? number : 0;
}

#define FAIL_IF_PLANNED(call, descriptor)       \
    do {                                        \
        int saved = errno;                      \
        int number = fault(call, descriptor);   \
        errno = saved;                          \
        if (number != 0) {                      \
            errno = number;                     \
            return -1;                          \
        }                                       \
    } while (0)

#define NEXT(type, name) ((type)dlsym(RTLD_NEXT, name))

ssize_t write(int descriptor, const void *bytes, size_t size) {
    FAIL_IF_PLANNED("write", descriptor);
    return NEXT(ssize_t (*)(int, const void *, size_t), "write")(descriptor, bytes, size);
}

ssize_t pwrite(int descriptor, const void *bytes, size_t size, off_t offset) {
    FAIL_IF_PLANNED("write", descriptor);
    return NEXT(ssize_t (*)(int, const void *, size_t, off_t), "pwrite")(descriptor, bytes, size, offset);
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t size, off64_t offset) {
    FAIL_IF_PLANNED("write", descriptor);
    return NEXT(ssize_t (*)(int, const void *, size_t, off64_t), "pwrite64")(descriptor, bytes, size, offset);
}

int fsync(int descriptor) {
    FAIL_IF_PLANNED("fsync", descriptor);
    return NEXT(int (*)(int), "fsync")(descriptor);
}

int fdatasync(int descriptor) {
    FAIL_IF_PLANNED("fsync", descriptor);
    return NEXT(int (*)(int), "fdatasync")(descriptor);
}

int ftruncate(int descriptor, off_t size) {
    FAIL_IF_PLANNED("ftruncate", descriptor);
    return NEXT(int (*)(int, off_t), "ftruncate")(descriptor, size);
}

int ftruncate64(int descriptor, off64_t size) {
    FAIL_IF_PLANNED("ftruncate", descriptor);
    return NEXT(int (*)(int, off64_t), "ftruncate64")(descriptor, size);
}
