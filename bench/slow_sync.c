/* Preloaded into a server: each sync of a file takes SYNC_MS milliseconds longer, as on a slower disk. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static int slowly(const char *name, int fd)
{
    const char *ms = getenv("SYNC_MS");
    int (*sync)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    usleep(1000 * (ms ? atoi(ms) : 0));
    return sync(fd);
}

int fsync(int fd) { return slowly("fsync", fd); }
int fdatasync(int fd) { return slowly("fdatasync", fd); }
