/* A disk that fails: preloaded into a process, it stands between SQLite and the kernel.
 *
 *   DISK_FILES   part of the path of the files that are on this disk
 *   DISK_FAULT   eio   the N-th call fails, and all after it work again (as the kernel does with fsync)
 *                full  no file grows from the N-th write on, until DISK_FREED exists
 *                cut   the power fails at the N-th call: of the pages not synced, chance says which are on the disk
 *   DISK_CALL    sync, write or any: what is counted
 *   DISK_NTH     N, from 1
 *   DISK_SEED    for chance
 *   DISK_ARMED   calls are counted once this file exists; without it, from the first one on
 *
 * A page is 4 KiB; what a disk does with one is taken to be whole. One thread at a time writes.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096
#define MOST_PAGES 65536
#define POWER_CUT_STATUS 137

struct page {
    char path[200];
    off_t number;
    ssize_t length; /* of what is surely on the disk; -1: the page is not there */
    char synced[PAGE];
};

static struct page *unsynced[MOST_PAGES];
static int count;
static long calls;

static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_sync)(int);

static void __attribute__((constructor)) find_the_real_ones(void) {
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_sync = dlsym(RTLD_NEXT, "fdatasync");
}

static int is(const char *name, const char *value) {
    const char *set = getenv(name);
    return set != NULL && strcmp(set, value) == 0;
}

static int is_ours(int fd, char *path) {
    char link[64];
    const char *files = getenv("DISK_FILES");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, 199);
    if (files == NULL || length < 0) return 0;
    path[length] = 0;
    return strstr(path, files) != NULL && strstr(path, "-shm") == NULL && strstr(path, ".lock") == NULL;
}

static void cut_the_power(void) {
    srandom(atoi(getenv("DISK_SEED") ? getenv("DISK_SEED") : "1"));
    for (int i = count - 1; i >= 0; i--) {
        struct page *page = unsynced[i];
        if (random() % 2) continue; /* this one reached the disk */
        int fd = open(page->path, O_RDWR);
        if (fd < 0) continue;
        if (page->length > 0) real_pwrite(fd, page->synced, page->length, page->number * PAGE);
        struct stat now;
        off_t end = page->number * PAGE + (page->length > 0 ? page->length : 0);
        if (page->length < PAGE && fstat(fd, &now) == 0) {
            if (now.st_size <= (page->number + 1) * PAGE) {
                if (ftruncate(fd, end)) abort(); /* the end of the file */
            } else {
                static const char zeros[PAGE]; /* a hole in what has become longer behind it */
                real_pwrite(fd, zeros, PAGE - (end - page->number * PAGE), end);
            }
        }
        close(fd);
    }
    _exit(POWER_CUT_STATUS);
}

/* Whether the fault is due at this call. */
static int is_due(const char *call) {
    if (!is("DISK_CALL", call) && !is("DISK_CALL", "any")) return 0;
    const char *armed = getenv("DISK_ARMED");
    if (armed != NULL && access(armed, F_OK) != 0) return 0;
    calls++;
    long nth = atol(getenv("DISK_NTH"));
    if (is("DISK_FAULT", "full")) {
        const char *freed = getenv("DISK_FREED");
        return calls >= nth && access(freed ? freed : "", F_OK) != 0;
    }
    if (calls != nth) return 0;
    if (is("DISK_FAULT", "cut")) cut_the_power();
    return 1;
}

static void remember(int fd, const char *path, off_t number) {
    for (int i = 0; i < count; i++)
        if (unsynced[i]->number == number && strcmp(unsynced[i]->path, path) == 0) return;
    if (count == MOST_PAGES) abort();
    struct page *page = malloc(sizeof *page);
    strcpy(page->path, path);
    page->number = number;
    page->length = pread(fd, page->synced, PAGE, number * PAGE);
    if (page->length <= 0) page->length = -1;
    unsynced[count++] = page;
}

static void forget(const char *path) {
    int kept = 0;
    for (int i = 0; i < count; i++) {
        if (strcmp(unsynced[i]->path, path) == 0) free(unsynced[i]);
        else unsynced[kept++] = unsynced[i];
    }
    count = kept;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t at) {
    char path[200];
    struct stat now;
    if (!is_ours(fd, path)) return real_pwrite(fd, data, size, at);
    if (is("DISK_FAULT", "full")) {
        /* what is allocated may be written over */
        if (fstat(fd, &now) == 0 && at + (off_t)size > now.st_size && is_due("write")) {
            errno = ENOSPC;
            return -1;
        }
        return real_pwrite(fd, data, size, at);
    }
    if (is("DISK_FAULT", "cut"))
        for (off_t number = at / PAGE; number <= (at + (off_t)size - 1) / PAGE; number++) remember(fd, path, number);
    if (is_due("write")) {
        errno = EIO;
        return -1;
    }
    return real_pwrite(fd, data, size, at);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return pwrite64(fd, data, size, at); }

int fdatasync(int fd) {
    char path[200];
    if (!is_ours(fd, path)) return real_sync(fd);
    if (!is("DISK_FAULT", "full") && is_due("sync")) {
        errno = EIO;
        return -1;
    }
    forget(path);
    return real_sync(fd);
}

int fsync(int fd) { return fdatasync(fd); }
