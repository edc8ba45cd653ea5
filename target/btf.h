#pragma once
/*
 * Where the running kernel keeps a member of a struct: its type information (BTF,
 * /sys/kernel/btf/vmlinux, since 5.4), read as far as that question goes.  The kernel's own bytes, but a
 * module's or a vendor's build makes them: bounded, nothing believed.  Pure.
 * Layout: Documentation/bpf/btf.rst, include/uapi/linux/btf.h.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define GD_BTF_VMLINUX "/sys/kernel/btf/vmlinux"
#define GD_BTF_BYTES_MAX (32u << 20) /* a distribution's has 4 to 7 MiB */

/*
 * Bytes from the start of `struct name` to its `member`, which may lie in structs without names of its own
 * (a kernel that shuffles task_struct wraps it in one).  -ENOENT: there is no such struct, or no such
 * member in it; -EBADMSG: it makes no sense, or has kinds of types that this does not know.
 */
int gd_btf_offset(const uint8_t *btf, size_t len, const char *name, const char *member,
                  uint32_t *ret, struct gd_error *err);
