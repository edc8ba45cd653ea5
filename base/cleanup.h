#pragma once
/*
 * Scope guards: the only GNU attribute tricks of the project live here.  A guarded variable is
 * released when it leaves its scope; gd_steal_* takes the value out and disarms the guard.
 * `goto` remains for undo that has an order (detach, resume, un-inject).
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void gd_cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void gd_cleanup_close(const int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

static inline void gd_cleanup_fclose(FILE **file)
{
	if (*file != NULL)
		(void)fclose(*file);
}

static inline void gd_cleanup_closedir(DIR **dir)
{
	if (*dir != NULL)
		(void)closedir(*dir);
}

#define GD_FREE __attribute__((cleanup(gd_cleanup_free)))
#define GD_CLOSE __attribute__((cleanup(gd_cleanup_close)))
#define GD_FCLOSE __attribute__((cleanup(gd_cleanup_fclose)))
#define GD_CLOSEDIR __attribute__((cleanup(gd_cleanup_closedir)))
/* For types with their own `void x(T **)`-shaped or `void x(T *)`-shaped release function. */
#define GD_CLEANUP(fn) __attribute__((cleanup(fn)))

static inline int gd_steal_fd(int *fd)
{
	int taken = *fd;
	*fd = -1;
	return taken;
}

#define gd_steal_ptr(p)                                                                            \
	({                                                                                         \
		__typeof__(*(p)) gd_taken_ = *(p);                                                 \
		*(p) = NULL;                                                                       \
		gd_taken_;                                                                         \
	})
