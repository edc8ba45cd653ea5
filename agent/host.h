#pragma once
/*
 * Which machine, kernel and boot a capture was taken on, and which of a fleet this is.
 */
#include <stdint.h>

struct gd_snapshot;

/* Fills hostname, kernel, machine, boot_id; what cannot be read stays "". */
void gd_host_identify(struct gd_snapshot *snapshot);

/* What stays the same about this host: /etc/machine-id, else its name. */
#define GD_HOST_ID_SIZE 256
void gd_host_id(char to[GD_HOST_ID_SIZE]);

/* A number from it (FNV-1a), which spreads schedules over a fleet. */
uint64_t gd_host_seed(const char *id);
