// Loaded into a PostgreSQL server: its files cannot grow while the disk is "full". The file that FULL_DISK names exists as long as
// it is, and holds what the path of such a file contains. As on a real disk, what is there already can be written anew. With a `!` before it
// the disk is broken: it takes the half of what is written, and fails.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int full(int fd, off_t end) {
    struct stat now;
    char part[256], link[64], path[4096];
    const char *flag = getenv("FULL_DISK");
    if (!flag || fstat(fd, &now)) return 0;
    int file = open(flag, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    ssize_t size = read(file, part, sizeof part - 1);
    close(file);
    if (size <= 0) return 0;
    part[size] = 0;
    int broken = part[0] == '!';
    if (!broken && end <= now.st_size) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    size = readlink(link, path, sizeof path - 1);
    if (size <= 0) return 0;
    path[size] = 0;
    return !strstr(path, part + broken) ? 0 : broken ? EIO : ENOSPC;
}

static off_t sum(const struct iovec *parts, int count) {
    off_t bytes = 0;
    for (int at = 0; at < count; at++) bytes += parts[at].iov_len;
    return bytes;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define PWRITE(name)                                                      \
    ssize_t name(int fd, const void *bytes, size_t count, off_t offset) { \
        int error = full(fd, offset + count);                             \
        if (error == EIO) REAL(name)(fd, bytes, count / 2, offset);       \
        if (error) return errno = error, -1;                              \
        return REAL(name)(fd, bytes, count, offset);                      \
    }
#define PWRITEV(name)                                                          \
    ssize_t name(int fd, const struct iovec *parts, int count, off_t offset) { \
        int error = full(fd, offset + sum(parts, count));                      \
        if (error) return errno = error, -1;                                   \
        return REAL(name)(fd, parts, count, offset);                           \
    }
#define FALLOCATE(name)                              \
    int name(int fd, off_t offset, off_t count) {    \
        int error = full(fd, offset + count);        \
        if (error) return error;                     \
        return REAL(name)(fd, offset, count);        \
    }

PWRITE(pwrite)
PWRITE(pwrite64)
PWRITEV(pwritev)
PWRITEV(pwritev64)
FALLOCATE(posix_fallocate)
FALLOCATE(posix_fallocate64)
