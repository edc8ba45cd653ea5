#pragma once
/*
 * The walls of a role, one by one; role.c puts them up in their order.  Each works on the calling
 * process and cannot be undone.
 */
#include "agent/role.h"

/* The sanitizers' runtime lives in the process it watches and wants a little more than we do. */
#if defined(__SANITIZE_ADDRESS__)
#define GD_ROLE_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GD_ROLE_SANITIZED
#endif
#endif

/*
 * Takes the role's uid (when we may) and drops every capability the role does not keep, from all
 * five sets.
 */
int gd_role_jail_privileges(const struct gd_role_info *info, struct gd_error *err);

/* Landlock; a kernel without it is a gap.  `more` are readable trees besides the role's. */
int gd_role_jail_files(const struct gd_role_info *info, const char *const *more, size_t n_more,
                       struct gd_role_gaps *gaps, struct gd_error *err);

/* The version of Landlock's interface, 0 when this kernel has none or has it switched off. */
int gd_role_jail_landlock(void);

/* The system call filter; needs no_new_privs. */
int gd_role_jail_calls(const struct gd_role_info *info, struct gd_error *err);
